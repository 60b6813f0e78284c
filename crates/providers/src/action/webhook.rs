//! HTTP requests that make something else act.
//!
//! Until the request is sent, a failure means that nothing was done; after that, only the answer tells.

use std::collections::BTreeMap;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use mainstay_plan::action::Outcome;
use mainstay_plan::observation::Answer;
use mainstay_plan::probe::Address;

use crate::action::{Attempt, IDEMPOTENCY_KEY_HEADER, done_at};
use crate::http::{self, Body, Secured};
use crate::so_far::SoFar;
use crate::tls::Spoken;
use crate::{tls, trouble};

/// A request that is ready to be sent, and where to.
pub(crate) struct Call {
    pub(crate) address: Address,
    /// The name for TLS; `None`: plain HTTP.
    tls_host: Option<String>,
    request: Request<Full<Bytes>>,
}

impl Call {
    /// Puts the request together. The error says what is wrong with it, without its URL and headers: they may hold
    /// secrets.
    pub(crate) fn new(
        url: &str,
        method: &str,
        headers: &BTreeMap<String, String>,
        body: &str,
        idempotency_key: &str,
    ) -> Result<Call, String> {
        let uri: Uri = url.parse().map_err(|error| format!("the URL: {error}"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err("the URL must start with http:// or https://".to_owned()),
        };
        let authority = uri.authority().ok_or("the URL names no host")?;
        if authority.as_str().contains('@') {
            return Err("the URL holds a user name: put credentials into an Authorization header".to_owned());
        }
        let host = authority.host();
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let address = match host.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(ip) => Address::Socket(std::net::SocketAddr::new(ip, port)),
            Err(_not_an_address) => Address::Name { host: host.to_owned(), port },
        };
        let method = Method::from_bytes(method.as_bytes()).map_err(|_invalid| "no such HTTP method".to_owned())?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .body(Full::new(Bytes::from(body.to_owned())))
            .map_err(|error| error.to_string())?;
        let all = request.headers_mut();
        all.insert(header::HOST, value("Host", authority.as_str())?);
        for (name, text) in headers {
            let parsed =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_invalid| format!("{name:?} is no header"))?;
            all.insert(parsed, value(name, text)?);
        }
        let key_header =
            HeaderName::from_bytes(IDEMPOTENCY_KEY_HEADER.as_bytes()).map_err(|error| error.to_string())?;
        all.insert(key_header, value(IDEMPOTENCY_KEY_HEADER, idempotency_key)?);
        Ok(Call { address, tls_host: tls.then(|| host.to_owned()), request })
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls_host.is_some()
    }
}

fn value(name: &str, text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|_invalid| format!("the value of {name} can't be sent"))
}

/// Sends it and judges the answer.
pub(crate) async fn send(
    attempt: &Attempt<'_>,
    url: &str,
    method: &str,
    headers: &BTreeMap<String, String>,
    body: &str,
    address_header: Option<&str>,
) -> Outcome {
    let call = match Call::new(url, method, headers, body, &attempt.order.idempotency_key) {
        Ok(call) => call,
        Err(why) => return Outcome::Failed(trouble::clip(&why)),
    };
    let secured = match secured(attempt, call.tls_host.as_deref()).await {
        Ok(secured) => secured,
        Err(why) => return Outcome::Failed(trouble::clip(&why)),
    };
    attempt.so_far.set(Outcome::Failed("nothing was sent: no connection in time".to_owned()));
    let unused = SoFar::new(Answer::TimedOut);
    let opened = http::open(&attempt.inner.names, &call.address, secured, attempt.deadline, &unused).await;
    let connection = match opened {
        Ok(connection) => connection,
        Err(answer) => {
            let why = answer.detail().unwrap_or("no connection in time");
            return Outcome::Failed(trouble::clip(&format!("nothing was sent: {why}")));
        }
    };
    attempt.so_far.set(Outcome::Unknown("sent, but not answered in time".to_owned()));
    match http::ask(connection, call.request, Body::Drain).await {
        Ok(reply) => match (judge(reply.status), address_header) {
            // A value that is no text is no address either.
            (Outcome::Done, Some(name)) => done_at(reply.headers.get(name).map(|it| it.to_str().unwrap_or("?"))),
            (outcome, _) => outcome,
        },
        Err(answer) => {
            let why = answer.detail().unwrap_or("not answered in time");
            Outcome::Unknown(trouble::clip(&format!("sent, but not answered: {why}")))
        }
    }
}

async fn secured(attempt: &Attempt<'_>, host: Option<&str>) -> Result<Option<Secured>, String> {
    let Some(host) = host else { return Ok(None) };
    let name = tls::server_name(host)?;
    let trust = attempt.inner.tls.get(&attempt.inner.gates, None, Spoken::Http1).await?;
    Ok(Some(Secured { config: trust.config, name }))
}

/// A server error may come after the work was done; any other refusal comes instead of it.
fn judge(status: StatusCode) -> Outcome {
    let text = format!("answered with status {status}");
    if status.is_success() {
        Outcome::Done
    } else if status.is_server_error() {
        Outcome::Unknown(text)
    } else {
        Outcome::Failed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(url: &str) -> Result<Call, String> {
        Call::new(url, "POST", &BTreeMap::new(), "", "key-1")
    }

    #[test]
    fn urls_lead_to_addresses() {
        let plain = call("http://127.0.0.1:8080/promote?now=1").expect("a good URL");
        assert_eq!(plain.address, Address::Socket(([127, 0, 0, 1], 8080).into()));
        assert_eq!(plain.request.uri(), "/promote?now=1");
        assert_eq!(plain.request.headers()["host"], "127.0.0.1:8080");
        let tls = call("https://hooks.example").expect("a good URL");
        assert_eq!(tls.address, Address::Name { host: "hooks.example".to_owned(), port: 443 });
        assert!(tls.is_tls());
    }

    #[test]
    fn a_request_that_cannot_be_sent_is_refused_without_showing_it() {
        for url in ["ftp://h/", "/path", "http://user:secret@h/", "http://", "http://h/ a"] {
            let Err(why) = call(url) else { panic!("{url} was accepted") };
            assert!(!why.contains("secret"), "{why}");
        }
        let headers = BTreeMap::from([("Authorization".to_owned(), "secret\n".to_owned())]);
        let why = Call::new("http://h/", "POST", &headers, "", "k").err().expect("a bad header");
        assert!(!why.contains("secret"), "{why}");
    }
}
