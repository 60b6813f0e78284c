//! The agent's answers to who wants a certificate: `POST /v1/enroll` with a token and without a certificate, `POST /v1/renew`
//! with one. `GET /v1/clock` tells anybody the time here, so that who is refused for a date can find out whose clock is wrong.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use rcgen::{CertificateSigningRequestParams, SanType};
use serde::{Deserialize, Serialize};

use super::authority::{Authority, SignError};
use super::joining::Signed;
use super::peer::{Peer, Role, described, uri};
use super::refusal::Refusal;
use super::token::unhex;

/// Where a host with a token asks.
pub const ENROLL: &str = "/v1/enroll";
/// Where a host with a certificate asks for the next one.
pub const RENEW: &str = "/v1/renew";
/// Where anybody is told the time.
pub const CLOCK: &str = "/v1/clock";

/// No request and no answer is longer, in bytes.
pub(super) const LONGEST: usize = 64 << 10;

/// How much of a name that somebody else chose is repeated, in characters.
const LONGEST_NAME: usize = 160;

/// What somebody who wants to join says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Enroll {
    /// The secret of the token, hexadecimal.
    pub(super) secret: String,
    /// The request for a certificate, as PEM.
    pub(super) request: String,
}

/// What a host says that wants another certificate.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Renew {
    /// The request for a certificate, as PEM.
    pub(super) request: String,
}

/// What the agent says to who is refused.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refused {
    pub(super) code: String,
    pub(super) message: String,
}

/// The time at the agent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Clock {
    pub(super) now: Timestamp,
}

/// What happened, for the journal. Its sentence holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A host has joined.
    Joined {
        /// Which.
        host: String,
        /// When its certificate ends.
        until: Timestamp,
    },
    /// A host got its next certificate.
    Renewed {
        /// Which.
        host: String,
        /// When it ends.
        until: Timestamp,
    },
    /// Somebody was refused.
    Refused(Refusal),
    /// The authority could not do its work.
    Failed {
        /// Why.
        what: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Joined { host, until } => write!(f, "host {host} has joined, with a certificate until {until}"),
            Event::Renewed { host, until } => write!(f, "host {host} has a new certificate, until {until}"),
            Event::Refused(refusal) => write!(f, "somebody was refused: {refusal}"),
            Event::Failed { what } => write!(f, "no certificate could be given: {what}"),
        }
    }
}

/// An answer, and what is to be told of it.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    /// Nothing for the time of day.
    pub event: Option<Event>,
}

impl Answer {
    fn new(status: StatusCode, body: &impl Serialize, event: Option<Event>) -> Answer {
        let body = serde_json::to_vec(body).expect("texts and dates can be written");
        Answer { status, body, event }
    }

    /// The answer as HTTP.
    pub fn into_response(self) -> Response<BoxBody<Bytes, Infallible>> {
        let mut response = Response::new(Full::from(self.body).boxed());
        *response.status_mut() = self.status;
        response
    }
}

/// Whether a request is for here, by its path.
pub fn is_for_office(path: &str) -> bool {
    matches!(path, ENROLL | RENEW | CLOCK)
}

/// Answers a request whose path [`is_for_office`], and refuses any other one of somebody without a certificate; `peer` is who
/// the connection's certificate says that it is. At most 64 KiB are read, within 10 s.
pub async fn answer<B>(authority: &Arc<Authority>, peer: Option<Peer>, request: Request<B>) -> Answer
where
    B: hyper::body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let read = Limited::new(body, LONGEST).collect();
    let body = match tokio::time::timeout(super::gate::HANDSHAKE, read).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return refused(Refusal::Garbled { what: "it is cut off, or longer than 64 KiB".to_owned() }),
        Err(_late) => return refused(Refusal::Garbled { what: "it did not come to an end".to_owned() }),
    };
    let Ok(_turn) = authority.turns().acquire().await else {
        return failed("the agent ends".to_owned());
    };
    let authority = Arc::clone(authority);
    // It waits for the disk.
    let work =
        tokio::task::spawn_blocking(move || answer_to(&authority, peer.as_ref(), &head.method, head.uri.path(), &body));
    work.await.unwrap_or_else(|error| failed(error.to_string()))
}

/// The same for a body that was read already. Waits for the disk.
pub fn answer_to(authority: &Authority, peer: Option<&Peer>, method: &Method, path: &str, body: &[u8]) -> Answer {
    let done = match (method, path) {
        (&Method::POST, ENROLL) => enroll(authority, body),
        (&Method::POST, RENEW) => renew(authority, peer, body),
        (&Method::GET, CLOCK) => {
            return Answer::new(StatusCode::OK, &Clock { now: authority.now() }, None);
        }
        (_, ENROLL | RENEW | CLOCK) => {
            return Answer::new(StatusCode::METHOD_NOT_ALLOWED, &(), None);
        }
        _ if peer.is_none() => return refused(Refusal::NoCertificate),
        _ => return Answer::new(StatusCode::NOT_FOUND, &(), None),
    };
    match done {
        Ok((signed, event)) => Answer::new(StatusCode::OK, &signed, Some(event)),
        Err(SignError::Refused(refusal)) => refused(refusal),
        Err(SignError::Authority(error)) => failed(causes(&error)),
    }
}

fn enroll(authority: &Authority, body: &[u8]) -> Result<(Signed, Event), SignError> {
    let Enroll { secret, request } = understood(body)?;
    let secret = unhex(&secret).ok_or(Refusal::TokenUnknown)?;
    let (host, signed, until) = authority.enroll(&secret, &request)?;
    Ok((signed, Event::Joined { host, until }))
}

fn renew(authority: &Authority, peer: Option<&Peer>, body: &[u8]) -> Result<(Signed, Event), SignError> {
    let peer = peer.ok_or(Refusal::NoCertificate)?;
    if peer.role != Role::Host {
        return Err(Refusal::WrongRole { claimed: peer.to_string(), wanted: Role::Host }.into());
    }
    let Renew { request } = understood(body)?;
    let (signed, until) = authority.renew(peer, &request)?;
    Ok((signed, Event::Renewed { host: peer.name.clone(), until }))
}

fn understood<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    // What it says itself would repeat what somebody sent.
    let what =
        |it: serde_json::Error| format!("it is not what is asked for, at line {}, column {}", it.line(), it.column());
    serde_json::from_slice(body).map_err(|it| Refusal::Garbled { what: what(it) })
}

/// Refuses a request that names anybody but this host.
pub(super) fn check_name(site: &str, host: &str, request: &str) -> Result<(), Refusal> {
    let asked = read_request(request)?;
    let wanted = uri(site, Role::Host, host);
    let other =
        asked.params.subject_alt_names.iter().find(|it| !matches!(it, SanType::URI(uri) if uri.as_str() == wanted));
    match other {
        None => Ok(()),
        Some(other) => {
            let asked = if let SanType::URI(uri) = other { uri.as_str().to_owned() } else { format!("{other:?}") };
            Err(Refusal::WrongName {
                claimed: described(site, Role::Host, host),
                asked: asked.escape_debug().take(LONGEST_NAME).collect(),
            })
        }
    }
}

/// Reads a request for a certificate, and sees that its sender holds the key.
pub(super) fn read_request(request: &str) -> Result<CertificateSigningRequestParams, Refusal> {
    CertificateSigningRequestParams::from_pem(request)
        .map_err(|it| Refusal::Garbled { what: format!("its request for a certificate can't be used ({it})") })
}

fn refused(refusal: Refusal) -> Answer {
    let said = Refused { code: refusal.code().to_owned(), message: refusal.to_string() };
    Answer::new(StatusCode::FORBIDDEN, &said, Some(Event::Refused(refusal)))
}

/// Strangers are not told what is wrong with our disk.
fn failed(what: String) -> Answer {
    let message = "the agent can't sign now: its log says why".to_owned();
    let said = Refused { code: "failed".to_owned(), message };
    Answer::new(StatusCode::INTERNAL_SERVER_ERROR, &said, Some(Event::Failed { what }))
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use bolero::check;

    use super::*;
    use crate::trust::{Joining, Terms, Wall};

    struct Agent {
        _dir: tempfile::TempDir,
        authority: Authority,
        host: Peer,
        request: String,
    }

    fn agent() -> Agent {
        let dir = tempfile::tempdir().expect("a directory");
        let wall = Wall::system();
        let made = Authority::create(dir.path(), "shop-a", &[], Terms::default(), &wall);
        let authority = made.expect("an authority").0;
        let joining = Joining::begin("shop-a", "db-a").expect("a key");
        let (signed, _) = authority.sign_host("db-a", joining.request()).expect("it is signed");
        let request = joining.request().to_owned();
        joining.finish(&signed, dir.path()).expect("it is written");
        let host = crate::trust::Identity::of_host(dir.path(), &wall).expect("it is there").me();
        Agent { _dir: dir, authority, host, request }
    }

    /// As DER.
    fn request() -> Vec<u8> {
        use rustls::pki_types::CertificateSigningRequestDer;
        use rustls::pki_types::pem::PemObject;
        CertificateSigningRequestDer::from_pem_slice(agent().request.as_bytes()).expect("it is PEM").to_vec()
    }

    fn pem(der: &[u8]) -> String {
        use base64::Engine;
        let text = base64::prelude::BASE64_STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
    }

    #[test]
    fn no_body_gets_a_certificate_or_does_harm() {
        let made = AssertUnwindSafe(agent());
        let made = &made;
        check!().with_type::<(bool, bool, Vec<u8>)>().for_each(|(renews, known, body)| {
            let agent: &Agent = made;
            let path = if *renews { RENEW } else { ENROLL };
            let peer = known.then_some(&agent.host);
            let answer = answer_to(&agent.authority, peer, &Method::POST, path, body);
            assert!(matches!(answer.event, Some(Event::Refused(_))), "{answer:?}");
        });
    }

    /// A bit that nothing is signed over, as that of a length, may be read as before.
    #[test]
    fn a_request_that_was_changed_asks_for_nothing_else() {
        let whole = request();
        let asks = |der: &[u8]| read_request(&pem(der)).map(|it| format!("{it:?}"));
        let real = asks(&whole).expect("the real one is good");
        check!().with_type::<(u16, u8, u16, bool)>().for_each(|(at, with, cut, cuts)| {
            let mut der = whole.clone();
            let at = usize::from(*at) % der.len();
            der[at] ^= with;
            if *cuts {
                der.truncate(usize::from(*cut) % der.len());
            }
            if let Ok(other) = asks(&der) {
                assert_eq!(other, real, "byte {at} xor {with}, cut {cuts}");
            }
        });
    }

    #[test]
    fn no_certificate_does_harm() {
        check!().with_type::<Vec<u8>>().for_each(|bytes| {
            let _ = Peer::of(&bytes.as_slice().into());
            assert!(read_request(&pem(bytes)).is_err());
        });
    }
}
