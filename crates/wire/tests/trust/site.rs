//! A site with an agent and hosts, in a folder of its own, under a clock that a test can move.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use mainstay_wire::trust::{Authority, Gate, Identity, Joining, Peer, Refusal, Terms, Wall};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// A wall clock that a test moves.
#[derive(Clone)]
pub(crate) struct Hand(Arc<AtomicI64>);

impl Hand {
    pub(crate) fn now() -> Hand {
        Hand(Arc::new(AtomicI64::new(Timestamp::now().as_second())))
    }

    pub(crate) fn wall(&self) -> Wall {
        let at = Arc::clone(&self.0);
        Wall::new(move || Timestamp::from_second(at.load(Ordering::Relaxed)).expect("it is a moment"))
    }

    pub(crate) fn forward(&self, time: Duration) {
        self.0.fetch_add(i64::try_from(time.as_secs()).expect("it is short"), Ordering::Relaxed);
    }
}

pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: Hand,
    pub(crate) authority: Authority,
}

impl Site {
    pub(crate) fn new(name: &str) -> Site {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Hand::now();
        let addresses = ["127.0.0.1".to_owned()];
        let (authority, _) =
            Authority::create(&dir.path().join("agent"), name, &addresses, Terms::default(), &clock.wall())
                .expect("it is made");
        Site { dir, clock, authority }
    }

    pub(crate) fn gate(&self) -> Gate {
        self.authority.gate().expect("the agent has a certificate")
    }

    pub(crate) fn state_of(&self, host: &str) -> PathBuf {
        self.dir.path().join(host)
    }

    /// A host that has joined, with a clock of its own.
    pub(crate) fn host(&self, name: &str, clock: &Hand) -> Identity {
        let joining = Joining::begin(self.authority.site(), name).expect("a key");
        let signed = self.authority.sign_host(name, joining.request()).expect("it is signed");
        joining.finish(&signed, &self.state_of(name)).expect("it is written");
        Identity::of_host(&self.state_of(name), &clock.wall()).expect("it is there")
    }
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
        // A refusal may come before or after these bytes are out.
        let _ = stream.write_all(b"ping").await;
        match stream.read_to_end(&mut heard).await {
            Ok(_) => Ok((peer, heard == b"ping")),
            Err(error) => Err(Refusal::within(&error).unwrap_or_else(|| panic!("{error}"))),
        }
    };
    let both = async { tokio::join!(agent, host) };
    let (agent, host) = timeout(Duration::from_secs(30), both).await.expect("both ends come to an end");
    let spoke = matches!(host, Ok((_, true)));
    Met { agent, host: host.map(|(peer, _)| peer), spoke }
}
