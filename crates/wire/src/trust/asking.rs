//! The host's way to a certificate: it joins with a token, renews with the certificate that it has, and finds out whose clock
//! is wrong when it is refused for a date.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::AlertDescription;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::authority::AuthorityError;
use super::files::{self, FileError};
use super::gate::{HANDSHAKE, hear, shake};
use super::identity::{Identity, host_file};
use super::joining::{Joining, Signed};
use super::office::{CLOCK, Clock, ENROLL, Enroll, LONGEST, RENEW, Refused, Renew};
use super::peer::described;
use super::refusal::Refusal;
use super::tls::{self, Believe};
use super::token::{Token, hex};
use super::wall::Wall;

/// Asking and being answered, connection and handshake not counted.
const ANSWERED: Duration = Duration::from_secs(30);

/// Why a host got no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answers there.
    #[error("the agent at {address} can't be reached: {what}")]
    Unreachable {
        /// Where the agent should be.
        address: String,
        /// What went wrong.
        what: String,
    },
    /// One of the two does not believe the other.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The agent would not, and said why.
    #[error("the agent refuses: {message}")]
    Told {
        /// A word for programs: [`Refusal::code`] of the agent's refusal.
        code: String,
        /// The agent's sentence.
        message: String,
    },
    /// This directory is another host's already.
    #[error("{} is the state of {found}: give {wanted} a directory of its own", state.display())]
    AnotherHost {
        /// The directory.
        state: PathBuf,
        /// Whose it is.
        found: String,
        /// Who wants to join.
        wanted: String,
    },
    /// A file can't be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// No key can be made.
    #[error(transparent)]
    Key(#[from] AuthorityError),
}

/// Joins: makes a key and gets a certificate for it from the agent at `address` (`HOST:PORT`), which is believed if it shows the
/// authority that the token names. Replaces the certificate that this host had.
///
/// The agent uses the token up before it answers. If the answer is lost, a new token is needed.
pub async fn join(address: &str, token: &Token, state: &Path, wall: &Wall) -> Result<Identity, AskError> {
    let wanted = described(token.site(), super::Role::Host, token.host());
    match Identity::of_host(state, wall) {
        Ok(had) if had.me().to_string() != wanted => {
            return Err(AskError::AnotherHost { state: state.to_owned(), found: had.me().to_string(), wanted });
        }
        Err(error @ (FileError::OpenToOthers { .. } | FileError::Io { .. })) => return Err(error.into()),
        // A damaged one is to be replaced.
        Ok(_) | Err(FileError::Missing { .. } | FileError::Damaged { .. }) => {}
    }
    // What can't be written is noticed before the token is used up.
    files::make_private(host_file(state).parent().expect("it is in a directory"))?;
    let joining = Joining::begin(token.site(), token.host())?;
    let believe = || Believe::Fingerprint { fingerprint: token.fingerprint, site: token.site().to_owned() };
    let asked = async {
        let stream = connect(address, believe(), wall).await?;
        let body = Enroll { secret: hex(&token.secret), request: joining.request().to_owned() };
        ask::<Signed>(stream, address, Method::POST, ENROLL, &body).await
    };
    let signed = match asked.await {
        Ok(signed) => signed,
        Err(AskError::Refused(refusal)) => return Err(with_clocks(refusal, address, believe(), wall).await.into()),
        Err(error) => return Err(error),
    };
    joining.finish(&signed, state)?;
    Ok(Identity::of_host(state, wall)?)
}

impl Identity {
    /// Gets the next certificate from the agent at `address` (`HOST:PORT`), with a new key, and shows it from the next
    /// connection on. For hosts; connections that are open go on.
    pub async fn renew(&self, address: &str) -> Result<(), AskError> {
        let me = self.me();
        let joining = Joining::begin(&me.site, &me.name)?;
        let stream = connect_as(self, address).await?;
        let body = Renew { request: joining.request().to_owned() };
        let signed: Signed = match ask(stream, address, Method::POST, RENEW, &body).await {
            Ok(signed) => signed,
            Err(AskError::Refused(refusal)) => return Err(self.explain(refusal, address).await.into()),
            Err(error) => return Err(error),
        };
        joining.write(&signed, self.path())?;
        Ok(self.reload()?)
    }

    /// A refusal that is about a date, with the agent's clock beside ours; another one as it is. Asks the agent at `address`
    /// for the time, for at most 50 s.
    pub async fn explain(&self, refusal: Refusal, address: &str) -> Refusal {
        with_clocks(refusal, address, self.believes(), self.wall()).await
    }
}

async fn connect_as(identity: &Identity, address: &str) -> Result<TlsStream<TcpStream>, AskError> {
    let tcp = dial(address).await?;
    match identity.connect(tcp).await {
        Ok((stream, _)) => Ok(stream),
        Err(refusal) => Err(identity.explain(refusal, address).await.into()),
    }
}

async fn with_clocks(refusal: Refusal, address: &str, believe: Believe, wall: &Wall) -> Refusal {
    let is_about_dates = matches!(
        refusal,
        Refusal::Expired { .. } | Refusal::NotYetValid { .. } | Refusal::ByPeer(AlertDescription::CertificateExpired)
    );
    if !is_about_dates {
        return refusal;
    }
    let here = wall.now();
    let asked = async {
        let stream = connect(address, Believe::AtAnyTime(Box::new(believe)), wall).await?;
        ask::<Clock>(stream, address, Method::GET, CLOCK, &()).await
    };
    match asked.await {
        Ok(Clock { now: there }) => Refusal::Clocks { why: Box::new(refusal), there, here },
        Err(_) => refusal,
    }
}

async fn dial(address: &str) -> Result<TcpStream, AskError> {
    let unreachable = |what: String| AskError::Unreachable { address: address.to_owned(), what };
    match timeout(HANDSHAKE, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(_late) => Err(unreachable(format!("no answer within {HANDSHAKE:?}"))),
    }
}

/// As somebody without a certificate.
async fn connect(address: &str, believe: Believe, wall: &Wall) -> Result<TlsStream<TcpStream>, AskError> {
    let tcp = dial(address).await?;
    let (config, found) = tls::client(None, believe, wall).map_err(|it| Refusal::Handshake { what: it.to_string() })?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(tls::server_name(), tcp);
    let mut stream = shake(timeout(HANDSHAKE, connecting).await, &found)?;
    hear(&mut stream).await?;
    found.take().transpose()?.ok_or(Refusal::NoCertificate)?;
    Ok(stream)
}

async fn ask<T: DeserializeOwned>(
    stream: TlsStream<TcpStream>,
    address: &str,
    method: Method,
    path: &str,
    body: &impl Serialize,
) -> Result<T, AskError> {
    let unreachable = |what: String| AskError::Unreachable { address: address.to_owned(), what };
    let lost = |error: hyper::Error| match Refusal::within(&error) {
        Some(refusal) => AskError::Refused(refusal),
        None => unreachable(Refusal::deepest(&error)),
    };
    let asked = async {
        let (mut requests, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(lost)?;
        let body = serde_json::to_vec(body).expect("texts can be written");
        let request = Request::builder()
            .method(method)
            .uri(format!("https://agent{path}"))
            .body(Full::<Bytes>::from(body))
            .expect("the words above make a request");
        let exchanged = async {
            let response = requests.send_request(request).await.map_err(lost)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            Ok::<_, AskError>((status, body.map_err(|it| unreachable(it.to_string()))?.to_bytes()))
        };
        // The connection moves the bytes; a refusal by alert comes out of either of the two.
        tokio::pin!(connection);
        tokio::select! {
            exchanged = exchanged => exchanged,
            ended = &mut connection => Err(match ended {
                Err(error) => lost(error),
                Ok(()) => unreachable("it closed the connection".to_owned()),
            }),
        }
    };
    let (status, body) = timeout(ANSWERED, asked)
        .await
        .unwrap_or_else(|_late| Err(unreachable(format!("no answer within {ANSWERED:?}"))))?;
    let garbled = |_| unreachable(format!("it answered {status} and nothing that can be understood"));
    if status == StatusCode::OK {
        return serde_json::from_slice(&body).map_err(garbled);
    }
    let Refused { code, message } = serde_json::from_slice(&body).map_err(garbled)?;
    Err(AskError::Told { code, message })
}
