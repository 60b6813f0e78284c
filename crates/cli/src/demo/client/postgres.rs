//! An order as a row of a table.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use crate::demo::http::Failure;

/// Writes it over a connection of its own. Says which server, of these ports and names, has acknowledged it.
pub(super) async fn order(proxy: SocketAddr, names: &[(u16, &'static str)], id: u64) -> Result<Arc<str>, Failure> {
    let stream = TcpStream::connect(proxy).await.map_err(|_refused| Failure::NotConnected)?;
    let mut config = Config::new();
    config.user("client").dbname("postgres");
    let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(|it| failure(&it))?;
    let _driven = Driven(tokio::spawn(connection).abort_handle());
    let statement = format!("INSERT INTO orders VALUES ({id}) RETURNING inet_server_port()::text");
    let answer = client.simple_query(&statement).await.map_err(|it| failure(&it))?;
    let port = answer.iter().find_map(|it| {
        let SimpleQueryMessage::Row(row) = it else { return None };
        row.get(0)?.parse::<u16>().ok()
    });
    let name = names.iter().find(|it| Some(it.0) == port);
    name.map(|it| it.1.into()).ok_or(Failure::Garbled)
}

/// Ends the task of a connection.
struct Driven(AbortHandle);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn failure(error: &tokio_postgres::Error) -> Failure {
    match error.code() {
        Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => Failure::Refused("it is a standby"),
        Some(_) => Failure::Refused("the server refuses it"),
        None => Failure::Closed,
    }
}
