//! Clients: one request, one question to DNS, and a load that does not wait for answers.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};

use super::site::{Net, until};

/// The name under which clients know the second component.
pub(crate) const NAME: &str = "files.e2e.internal.";

/// How long a client waits: longer than any busy machine keeps it waiting.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Between two requests of a load, whatever became of the ones before.
const EVERY: Duration = Duration::from_millis(20);

/// The body of a good answer.
pub(crate) fn get(at: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: e2e\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let bad = || io::Error::other(format!("no good answer: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(bad)?;
    if head.starts_with("HTTP/1.1 200 ") { Ok(body.to_owned()) } else { Err(bad()) }
}

/// The address that our DNS gives for the name.
pub(crate) fn resolve(server: SocketAddr) -> io::Result<IpAddr> {
    let mut question = Message::new(4711, MessageType::Query, OpCode::Query);
    let name = Name::from_ascii(NAME).map_err(io::Error::other)?;
    question.add_query(Query::query(name, RecordType::A));
    let socket = UdpSocket::bind((IpAddr::from([0, 0, 0, 0]), 0))?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.connect(server)?;
    socket.send(&question.to_vec().map_err(io::Error::other)?)?;
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer)?;
    let answer = Message::from_vec(&buffer[..length]).map_err(io::Error::other)?;
    let address = answer.answers.iter().find_map(|it| {
        let RData::A(address) = &it.data else { return None };
        Some(IpAddr::V4(address.0))
    });
    address.ok_or_else(|| io::Error::other("an answer without an address"))
}

/// Clients that come at a steady pace.
pub(crate) struct Load {
    ends: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    pacer: JoinHandle<Vec<JoinHandle<()>>>,
    failed: Arc<Mutex<Vec<String>>>,
}

impl Load {
    /// Through the proxy, and through DNS where `by_name`.
    pub(crate) fn start(net: &Net, by_name: bool) -> Load {
        let (ends, sent, failed) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::default());
        let (proxy, dns, port) = (net.proxy, net.dns, net.servers["files"].port());
        let began = Instant::now();
        let pace = {
            let (ends, sent, failed) =
                (Arc::clone(&ends), Arc::clone(&sent), Arc::<Mutex<Vec<String>>>::clone(&failed));
            move || {
                let mut clients = Vec::new();
                while !ends.load(Ordering::Relaxed) {
                    let failed = Arc::clone(&failed);
                    let sent = Arc::clone(&sent);
                    clients.push(thread::spawn(move || {
                        let note = |path: &str, result: io::Result<String>| {
                            if let Err(error) = result {
                                let text = format!("{path} at {:?}: {error}", began.elapsed());
                                failed.lock().expect("nobody panics").push(text);
                            }
                            sent.fetch_add(1, Ordering::Relaxed);
                        };
                        note("proxy", get(proxy, "/"));
                        if by_name {
                            note("dns", resolve(dns).and_then(|it| get(SocketAddr::new(it, port), "/")));
                        }
                    }));
                    thread::sleep(EVERY);
                }
                clients
            }
        };
        Load { ends, sent, pacer: thread::spawn(pace), failed }
    }

    /// Goes on until so many more requests were answered.
    pub(crate) fn more(&self, requests: usize) {
        let wanted = self.sent.load(Ordering::Relaxed) + requests;
        until("clients are answered", || (self.sent.load(Ordering::Relaxed) >= wanted).then_some(()));
    }

    /// Ends it; no request may have failed.
    #[track_caller]
    pub(crate) fn ends_without_failure(self) {
        self.ends.store(true, Ordering::Relaxed);
        for client in self.pacer.join().expect("it does not panic") {
            client.join().expect("it does not panic");
        }
        let failed = self.failed.lock().expect("nobody panics");
        let sent = self.sent.load(Ordering::Relaxed);
        assert!(failed.is_empty(), "{} of {sent} requests failed: {failed:#?}", failed.len());
    }
}
