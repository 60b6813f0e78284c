//! Logging in, and what a server's refusals mean.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mainstay_plan::observation::Answer;
use mainstay_plan::postgres::{Password, PostgresServer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage, SimpleQueryRow};
use tokio_rustls::{TlsConnector, client};

use crate::so_far::SoFar;
use crate::tls::{self, Spoken};
use crate::{Inner, PrepareError, dial, trouble};

/// A connection that is logged in. It is closed when this is dropped.
pub(super) struct Session {
    client: Client,
    driver: Driver,
}

/// What moves the bytes of a connection, as long as it is wanted.
struct Driver(JoinHandle<Result<(), Error>>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Session {
    /// Logs in by `deadline`. Notes in `so_far` what a timeout would mean.
    ///
    /// # Errors
    /// What it says about the server that nobody could log in.
    pub(super) async fn open(
        inner: &Inner,
        server: &PostgresServer,
        deadline: Instant,
        so_far: &SoFar<Answer>,
    ) -> Result<Session, Answer> {
        so_far.set(ours("reading the password took too long"));
        let known = password(inner, server, Read::Kept).await.map_err(|why| ours(&why))?;
        match Session::log_in(inner, server, known.as_deref(), deadline, so_far).await {
            Err(Refusal::Password(answer)) => {
                // It may have been changed since.
                let again = password(inner, server, Read::Again).await.map_err(|why| ours(&why))?;
                if again == known {
                    return Err(answer);
                }
                Session::log_in(inner, server, again.as_deref(), deadline, so_far).await.map_err(Refusal::answer)
            }
            other => other.map_err(Refusal::answer),
        }
    }

    async fn log_in(
        inner: &Inner,
        server: &PostgresServer,
        password: Option<&str>,
        deadline: Instant,
        so_far: &SoFar<Answer>,
    ) -> Result<Session, Refusal> {
        let other = |answer| Refusal::Other(answer);
        let mut config = Config::new();
        config.user(&server.user).dbname(&server.database).application_name("mainstay");
        if let Some(password) = password {
            config.password(password);
        }
        // What is asked must not go on in the server when nobody waits for it any more, and waits for no standby.
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        config.options(format!("-c statement_timeout={} -c synchronous_commit=local", left.as_millis()));
        let Some(secured) = &server.tls else {
            config.ssl_mode(SslMode::Disable);
            let stream = dial::connect(&inner.names, &server.address, deadline, so_far).await.map_err(other)?;
            let (client, connection) =
                config.connect_raw(stream, NoTls).await.map_err(|it| refusal(server, &it, password))?;
            return Ok(Session { client, driver: Driver(tokio::spawn(connection)) });
        };
        config.ssl_mode(SslMode::Require);
        let name = tls::server_name(&secured.name).map_err(|why| other(ours(&why)))?;
        so_far.set(ours("reading the trusted certificates took too long"));
        let trust = inner.tls.get(&inner.gates, secured.ca_file.as_deref(), Spoken::Unnamed).await;
        let config_of_tls = trust.map_err(|why| other(ours(&why)))?.config;
        let stream = dial::connect(&inner.names, &server.address, deadline, so_far).await.map_err(other)?;
        let tls = Secured { config: config_of_tls, name };
        let (client, connection) =
            config.connect_raw(stream, tls).await.map_err(|it| refusal(server, &it, password))?;
        Ok(Session { client, driver: Driver(tokio::spawn(connection)) })
    }

    /// The first row of what is asked. A statement that gives none is done by [`Session::run`].
    pub(super) async fn row(&self, statement: &str) -> Result<Row, Error> {
        let messages = self.client.simple_query(statement).await?;
        let row = |it| if let SimpleQueryMessage::Row(row) = it { Some(row) } else { None };
        Ok(Row(messages.into_iter().find_map(row)))
    }

    /// Does what gives no rows.
    pub(super) async fn run(&self, statement: &str) -> Result<(), Error> {
        self.client.batch_execute(statement).await
    }

    /// Whether nothing can be asked here any more.
    pub(super) fn is_over(&self) -> bool {
        self.client.is_closed() || self.driver.0.is_finished()
    }
}

/// One row; `None`: there was none.
pub(super) struct Row(Option<SimpleQueryRow>);

impl Row {
    /// What stands in a column, as text; `None`: nothing, or no such column.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.as_ref()?.try_get(name).ok().flatten()
    }
}

/// Why nobody could log in.
enum Refusal {
    /// The password, or that there was none.
    Password(Answer),
    Other(Answer),
}

impl Refusal {
    fn answer(self) -> Answer {
        match self {
            Refusal::Password(answer) | Refusal::Other(answer) => answer,
        }
    }
}

fn ours(why: &str) -> Answer {
    Answer::CouldNotAsk(trouble::clip(why))
}

fn refusal(server: &PostgresServer, error: &Error, password: Option<&str>) -> Refusal {
    let user = &server.user;
    let Some(db) = error.as_db_error() else {
        return match (source_io(error), password) {
            (Some(io), _) => Refusal::Other(tls::answer("logging in", io)),
            (None, None) if error.to_string().contains("configuration") => {
                Refusal::Password(ours(&format!("it wants a password of `{user}`, and the plan names none")))
            }
            (None, _) => Refusal::Other(Answer::Wrong(trouble::clip(&format!("logging in: {error}")))),
        };
    };
    match *db.code() {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => Refusal::Password(ours(
            &format!("it does not let `{user}` in ({}), which says nothing about its work", db.message()),
        )),
        _ => Refusal::Other(said(db)),
    }
}

/// What an error of a question says.
pub(super) fn answer(doing: &str, error: &Error) -> Answer {
    match (error.as_db_error(), source_io(error)) {
        (Some(db), _) => said(db),
        (None, Some(io)) => tls::answer(doing, io),
        (None, None) if error.is_closed() => Answer::Refused(format!("{doing}: the connection was closed")),
        (None, None) => Answer::Wrong(trouble::clip(&format!("{doing}: {error}"))),
    }
}

/// What the server itself said. Its text may hold what a setting holds; only codes that have nothing of the kind are quoted.
fn said(db: &DbError) -> Answer {
    let message = db.message();
    match *db.code() {
        // "the database system is starting up", or shutting down, or in recovery mode.
        SqlState::CANNOT_CONNECT_NOW => {
            Answer::Wrong(trouble::clip(&match message.strip_prefix("the database system ") {
                Some(state) => format!("it {state}"),
                None => message.to_owned(),
            }))
        }
        SqlState::TOO_MANY_CONNECTIONS => Answer::Wrong(trouble::clip(&format!("it lets nobody in: {message}"))),
        SqlState::T_R_SERIALIZATION_FAILURE => Answer::Wrong("in conflict with its recovery".to_owned()),
        SqlState::DISK_FULL => Answer::Wrong("its disk is full".to_owned()),
        SqlState::QUERY_CANCELED => Answer::TimedOut,
        SqlState::INSUFFICIENT_PRIVILEGE => ours(&format!("{message}: run postgresql.sql there")),
        SqlState::INVALID_CATALOG_NAME | SqlState::UNDEFINED_FUNCTION => ours(message),
        _ => Answer::Wrong(trouble::clip(&format!("{message} ({})", db.code().code()))),
    }
}

/// The error of the connection beneath.
fn source_io(error: &Error) -> Option<&io::Error> {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return Some(io);
        }
        source = inner.source();
    }
    None
}

/// Whether a file is read that was read before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    Kept,
    Again,
}

async fn password(inner: &Inner, server: &PostgresServer, read: Read) -> Result<Option<String>, String> {
    let Some(password) = &server.password else { return Ok(None) };
    let text = match read {
        Read::Kept => inner.secrets.get(&inner.gates, password.file()).await?,
        Read::Again => inner.secrets.load(&inner.gates, password.file()).await?,
    };
    match password {
        Password::File(_) => Ok(Some(text)),
        Password::Passfile(file) => {
            let found = of_passfile(&text, server);
            found
                .map(Some)
                .ok_or_else(|| format!("{}: no line is for {} and {}", file.display(), server.address, server.user))
        }
    }
}

/// The password of the first line that is for that server: `host:port:database:user:password`, where `*` stands for any and `\`
/// takes the meaning of `:` and `\`.
fn of_passfile(text: &str, server: &PostgresServer) -> Option<String> {
    let host = server.address.host();
    let port = server.address.port().to_string();
    let wanted = [host.as_str(), port.as_str(), server.database.as_str(), server.user.as_str()];
    text.lines().filter(|it| !it.starts_with('#')).find_map(|line| {
        let mut fields = vec![String::new()];
        let mut chars = line.chars();
        while let Some(it) = chars.next() {
            match it {
                '\\' => fields.last_mut()?.extend(chars.next()),
                ':' if fields.len() < 5 => fields.push(String::new()),
                it => fields.last_mut()?.push(it),
            }
        }
        let [asked @ .., password] = fields.as_slice() else { return None };
        let fits = asked.len() == 4 && asked.iter().zip(wanted).all(|(has, wanted)| has == "*" || has == wanted);
        fits.then(|| password.clone())
    })
}

/// Reads ahead what logging in needs.
pub(crate) async fn prepare(inner: &Inner, server: &PostgresServer) -> Result<(), PrepareError> {
    inner.names.prepare(&server.address);
    password(inner, server, Read::Again).await.map_err(PrepareError::Secret)?;
    if let Some(secured) = &server.tls {
        tls::server_name(&secured.name).map_err(PrepareError::Request)?;
        let loaded = inner.tls.load(&inner.gates, secured.ca_file.as_deref(), Spoken::Unnamed).await;
        loaded.map_err(PrepareError::Trust)?;
    }
    Ok(())
}

/// TLS beneath PostgreSQL's protocol: the connection is dialled before, and the certificate is judged as for any other probe.
struct Secured {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsConnect<TcpStream> for Secured {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(async move { TlsConnector::from(self.config).connect(self.name, stream).await.map(Encrypted) })
    }
}

struct Encrypted(client::TlsStream<TcpStream>);

impl TlsStream for Encrypted {
    // The certificate is verified; binding the password to it as well would add nothing.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use mainstay_plan::probe::Address;

    use super::*;

    fn server(user: &str) -> PostgresServer {
        PostgresServer {
            address: Address::Socket(([10, 0, 1, 10], 5432).into()),
            user: user.to_owned(),
            database: "postgres".to_owned(),
            password: None,
            tls: None,
            files: None,
            follow: None,
            synchronous: None,
        }
    }

    #[test]
    fn a_passfile_is_read_as_libpq_reads_it() {
        let text = "# comment\n10.0.1.10:5432:orders:mainstay:wrong database\n10.0.1.10:*:*:mainstay:a\\:b\\\\c\n\
                    *:*:*:other:any:thing\nbroken line\n";
        assert_eq!(of_passfile(text, &server("mainstay")).as_deref(), Some("a:b\\c"));
        assert_eq!(of_passfile(text, &server("other")).as_deref(), Some("any:thing"));
        assert_eq!(of_passfile(text, &server("nobody")), None);
    }
}
