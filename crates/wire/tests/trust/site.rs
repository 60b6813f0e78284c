//! A site with an agent and hosts, in a folder of its own, under a clock that a test can move.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use mainstay_wire::reception::{Arrived, Reception};
use mainstay_wire::trust::{
    AskError, Authority, Event, Gate, Identity, Joining, Peer, Refusal, Terms, Token, Wall, join,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A wall clock that a test moves.
#[derive(Clone)]
pub(crate) struct Hand(Arc<AtomicI64>);

impl Hand {
    pub(crate) fn now() -> Hand {
        Hand(Arc::new(AtomicI64::new(Timestamp::now().as_second())))
    }

    /// Another clock that says the same.
    pub(crate) fn copy(&self) -> Hand {
        Hand(Arc::new(AtomicI64::new(self.0.load(Ordering::Relaxed))))
    }

    pub(crate) fn wall(&self) -> Wall {
        let at = Arc::clone(&self.0);
        Wall::new(move || Timestamp::from_second(at.load(Ordering::Relaxed)).expect("it is a moment"))
    }

    pub(crate) fn forward(&self, time: Duration) {
        self.0.fetch_add(i64::try_from(time.as_secs()).expect("it is short"), Ordering::Relaxed);
    }

    pub(crate) fn back(&self, time: Duration) {
        self.0.fetch_sub(i64::try_from(time.as_secs()).expect("it is short"), Ordering::Relaxed);
    }
}

pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: Hand,
    pub(crate) authority: Arc<Authority>,
}

impl Site {
    pub(crate) fn new(name: &str) -> Site {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Hand::now();
        let authority = authority(&dir.path().join("agent"), name, &clock);
        Site { dir, clock, authority: Arc::new(authority) }
    }

    pub(crate) fn gate(&self) -> Gate {
        self.authority.gate().expect("the agent has a certificate")
    }

    pub(crate) fn state_of(&self, host: &str) -> PathBuf {
        self.dir.path().join(host)
    }

    pub(crate) fn file_of(&self, host: &str) -> PathBuf {
        self.state_of(host).join("pki/identity.pem")
    }

    /// A host that has joined, with a clock of its own.
    pub(crate) fn host(&self, name: &str, clock: &Hand) -> Identity {
        let joining = Joining::begin(self.authority.site(), name).expect("a key");
        let (signed, _) = self.authority.sign_host(name, joining.request()).expect("it is signed");
        joining.finish(&signed, &self.state_of(name)).expect("it is written");
        Identity::of_host(&self.state_of(name), &clock.wall()).expect("it is there")
    }

    pub(crate) fn token(&self, host: &str) -> Token {
        self.authority.invite(host, HOUR).expect("a token").0
    }

    /// What a host says that joins by this site's clock.
    pub(crate) async fn join(&self, open: &Open, token: &Token) -> Result<Identity, AskError> {
        join(&open.address, token, &self.state_of(token.host()), &self.clock.wall()).await
    }

    /// Its agent takes connections.
    pub(crate) async fn open(&self) -> Open {
        open(Arc::clone(&self.authority)).await
    }
}

pub(crate) fn authority(state: &Path, site: &str, clock: &Hand) -> Authority {
    let addresses = ["127.0.0.1".to_owned()];
    let made = Authority::create(state, site, &addresses, Terms::default(), &clock.wall());
    made.expect("an authority").0
}

/// An agent's side that takes connections until it is dropped.
pub(crate) struct Open {
    pub(crate) address: String,
    pub(crate) reception: Reception,
    pub(crate) arrived: mpsc::Receiver<Arrived>,
    events: Arc<Mutex<Vec<Event>>>,
    serves: tokio::task::JoinHandle<()>,
}

impl Open {
    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().expect("no test panics with it").clone()
    }

    /// The refusals that a journal would hold.
    pub(crate) fn refusals(&self) -> Vec<Refusal> {
        let refused = |it| if let Event::Refused(refusal) = it { Some(refusal) } else { None };
        self.events().into_iter().filter_map(refused).collect()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.serves.abort();
    }
}

pub(crate) async fn open(authority: Arc<Authority>) -> Open {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let reception = Reception::new(authority).expect("the agent has a certificate");
    let events = Arc::new(Mutex::new(Vec::new()));
    let (comes, arrived) = mpsc::channel(64);
    let (takes, told) = (reception.clone(), Arc::clone(&events));
    let serves = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let (takes, told, comes) = (takes.clone(), Arc::clone(&told), comes.clone());
            tokio::spawn(async move {
                let tell = move |event| told.lock().expect("no test panics with it").push(event);
                if let Some(host) = takes.receive(stream, tell).await {
                    let _ = comes.send(host).await;
                }
            });
        }
    });
    Open { address, reception, arrived, events, serves }
}

/// Asks over a connection, as a host that was written by somebody else might.
pub(crate) async fn post<S>(stream: S, path: &str, body: String) -> (StatusCode, serde_json::Value)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asked = async {
        let (mut requests, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        let request = Request::post(format!("https://agent{path}")).body(Full::new(Bytes::from(body)));
        let response = requests.send_request(request.expect("a request")).await.expect("an answer");
        let status = response.status();
        let body = response.into_body().collect().await.expect("all of it").to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    };
    timeout(Duration::from_secs(30), asked).await.expect("an answer in time")
}

/// What each end has found out, and whether bytes went through both ways.
pub(crate) struct Met {
    pub(crate) agent: Result<Option<Peer>, Refusal>,
    pub(crate) host: Result<Peer, Refusal>,
    pub(crate) spoke: bool,
}

/// One connection from `host` to `gate`.
pub(crate) async fn meet(gate: &Gate, host: &Identity) -> Met {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let agent = async {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (mut stream, peer) = gate.accept(stream).await?;
        stream.write_all(b"hello").await.expect("it is let in");
        let mut heard = [0; 4];
        if stream.read_exact(&mut heard).await.is_ok() {
            stream.write_all(&heard).await.expect("it answers");
            stream.shutdown().await.expect("it ends");
        }
        Ok(peer)
    };
    let host = async {
        let stream = TcpStream::connect(address).await.expect("it connects");
        let (mut stream, peer) = host.connect(stream).await?;
        let mut heard = Vec::new();
        stream.write_all(b"ping").await.expect("it is let in");
        stream.read_to_end(&mut heard).await.expect("all of it");
        Ok((peer, heard == b"helloping"))
    };
    let both = async { tokio::join!(agent, host) };
    let (agent, host) = timeout(Duration::from_secs(30), both).await.expect("both ends come to an end");
    let spoke = matches!(host, Ok((_, true)));
    Met { agent, host: host.map(|(peer, _)| peer), spoke }
}

/// The identity in `file` with the key and the certificate of the one in `shown`, under this clock.
pub(crate) fn mixed(file: &Path, shown: &Path, clock: &Hand) -> Identity {
    let text = |path: &Path| fs::read_to_string(path).expect("it is there");
    let end = "-----END CERTIFICATE-----\n";
    let (shown, kept) = (text(shown), text(file));
    let (own, _) = shown.split_once(end).expect("a certificate");
    let (_, trusted) = kept.split_once(end).expect("a certificate");
    fs::write(file, format!("{own}{end}{trusted}")).expect("it is written");
    Identity::load(file, &clock.wall()).expect("it is whole")
}
