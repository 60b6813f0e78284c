//! Probes and actions against real sockets and real processes of this machine.

mod action;
mod command_probe;
mod composite_probe;
mod connections;
mod datagram_probe;
mod dns_probe;
mod elsewhere;
mod fixtures;
mod grpc_probe;
mod http_probe;
mod local_probe;
mod nginx;
mod nginx_probe;
mod service;
mod shortage;
mod tcp_probe;
mod tls_probe;
mod webhook;
