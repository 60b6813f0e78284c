//! An HTTP request, and whether its answer is as expected.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::HeaderMap;
use hyper::{Method, Request, StatusCode, header};
use mainstay_plan::observation::{Answer, Concerns};
use mainstay_plan::probe::{HttpMethod, HttpProbe};
use tokio::time::Instant;

use super::Place;
use super::word;
use crate::http::{self, Body, Connection, Reply, Secured};
use crate::so_far::SoFar;
use crate::tls::{self, Spoken};
use crate::{Inner, ProbeAnswer, kept, lag, secrets, trouble};

pub(super) async fn ask(
    inner: &Inner,
    probe: &HttpProbe,
    deadline: Instant,
    so_far: &SoFar<Answer>,
) -> Result<ProbeAnswer, Answer> {
    let Some(auth) = &probe.auth else {
        let (reply, expiring) = follow(inner, probe, None, deadline, so_far).await?;
        return Ok(judge(probe, &reply, expiring));
    };
    so_far.set(ours("reading the secret took too long"));
    let secret = inner.secrets.get(&inner.gates, auth.file()).await.map_err(|text| ours(&text))?;
    let value = secrets::authorization(auth, &secret).map_err(|text| ours(&text))?;
    let (mut reply, mut expiring) = follow(inner, probe, Some(&value), deadline, so_far).await?;
    if reply.status == StatusCode::UNAUTHORIZED
        && let Ok(newer) = inner.secrets.load(&inner.gates, auth.file()).await
        && newer != secret
    {
        let value = secrets::authorization(auth, &newer).map_err(|text| ours(&text))?;
        (reply, expiring) = follow(inner, probe, Some(&value), deadline, so_far).await?;
    }
    Ok(judge(probe, &reply, expiring))
}

fn ours(text: &str) -> Answer {
    Answer::CouldNotAsk(trouble::clip(text))
}

fn judge(probe: &HttpProbe, reply: &Reply, expiring: Option<String>) -> ProbeAnswer {
    let answer = if !is_expected(reply.status, &probe.expect_status) {
        Answer::Wrong(format!("status {}", reply.status))
    } else if let Some((name, text)) = probe.expect_headers.iter().find(|it| !has(&reply.headers, it.0, it.1)) {
        let got = reply.headers.get(name).map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
        let got = got.map_or_else(|| "none".to_owned(), |it| format!("{it:?}"));
        Answer::Wrong(trouble::clip(&format!(
            "status {}, header {name} with {text:?} expected, got {got}",
            reply.status
        )))
    } else if probe.expect_body.as_deref().is_some_and(|text| !text.is_empty()) && !reply.found {
        Answer::Wrong(format!("status {}, without the expected text", reply.status))
    } else {
        Answer::Good
    };
    let lag = text_of(&reply.headers, probe.lag_header.as_deref()).and_then(lag::parse);
    let role = text_of(&reply.headers, probe.role_header.as_deref()).map(word);
    let concerns = Concerns { expiring, ..Concerns::default() };
    ProbeAnswer { answer, lag, role, concerns, position: None }
}

/// Asks, and asks on where the answer says so, as often as the plan lets it.
async fn follow(
    inner: &Inner,
    probe: &HttpProbe,
    auth: Option<&HeaderValue>,
    deadline: Instant,
    so_far: &SoFar<Answer>,
) -> Result<(Reply, Option<String>), Answer> {
    let mut place = Place::of(probe);
    let mut question = Question { method: probe.method, sends: true, auth };
    let mut soonest = None;
    for left in (0..=probe.redirects).rev() {
        let (reply, expiring) = once(inner, probe, &place, &question, deadline, so_far).await?;
        soonest = soonest.or(expiring);
        let moved = reply.status.is_redirection() && reply.status != StatusCode::NOT_MODIFIED;
        let to = reply.headers.get(header::LOCATION).filter(|_| moved && probe.redirects > 0);
        let Some(to) = to else { return Ok((reply, soonest)) };
        let to = to.to_str().map_err(|_not_text| Answer::Wrong("redirected to what is no URL".to_owned()))?;
        if left == 0 {
            let text = format!("redirected more than {} times, at last to {to}", probe.redirects);
            return Err(Answer::Wrong(trouble::clip(&text)));
        }
        let next = place.redirected(to).map_err(|why| Answer::Wrong(trouble::clip(&why)))?;
        // RFC 9110, section 15.4: 307 and 308 keep the method, all others are asked for by `GET`.
        if !matches!(reply.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
            && question.method != HttpMethod::Head
        {
            question = Question { method: HttpMethod::Get, sends: false, ..question };
        }
        // Nobody else is told a secret.
        if !next.is_same_server(&place) {
            question = Question { sends: false, auth: None, ..question };
        }
        place = next;
    }
    Err(ours("no redirect is left"))
}

/// What is asked at a place.
#[derive(Clone, Copy)]
struct Question<'a> {
    method: HttpMethod,
    /// Whether the plan's headers and body go along.
    sends: bool,
    auth: Option<&'a HeaderValue>,
}

/// One request and its answer; and what is to be said about the certificate.
async fn once(
    inner: &Inner,
    probe: &HttpProbe,
    place: &Place,
    question: &Question<'_>,
    deadline: Instant,
    so_far: &SoFar<Answer>,
) -> Result<(Reply, Option<String>), Answer> {
    let request = request(probe, place, question).map_err(|text| ours(&text))?;
    so_far.set(ours("reading the trusted certificates took too long"));
    let trust = match place.tls {
        true => {
            let name = tls::server_name(&place.host).map_err(|text| ours(&text))?;
            let trust = inner.tls.get(&inner.gates, probe.ca_file.as_deref(), spoken(probe)).await;
            Some((trust.map_err(|text| ours(&text))?, name))
        }
        false => None,
    };
    let secured = trust.as_ref().map(|(it, name)| Secured { config: it.config.clone(), name: name.clone() });
    let expiring = |connection: &Connection| match (connection, &trust, probe.expires_after) {
        (Connection::Tls(stream), Some((trust, name)), Some(within)) => trust.expiring(stream, name, within),
        (Connection::Tls(_) | Connection::Plain(_), _, _) => None,
    };
    let open = http::open(&inner.names, &place.address, secured, deadline, so_far);
    if probe.keep_alive {
        return Box::pin(kept::ask(&inner.kept, (probe, place), so_far, open, expiring, request)).await;
    }
    let connection = open.await?;
    let expiring = expiring(&connection);
    let body = probe.expect_body.as_deref().map_or(Body::Ignore, Body::Find);
    let reply = match probe.http2 {
        true => Box::pin(http::ask_h2(connection, request, async |response| http::read(response, body).await)).await?,
        false => http::ask(connection, request, body).await?,
    };
    Ok((reply, expiring))
}

/// What is spoken over TLS.
pub(crate) const fn spoken(probe: &HttpProbe) -> Spoken {
    if probe.http2 { Spoken::Http2 } else { Spoken::Http1 }
}

/// Why the request of a probe can't be one.
pub(crate) fn check_request(probe: &HttpProbe, auth: Option<&HeaderValue>) -> Result<(), String> {
    request(probe, &Place::of(probe), &Question { method: probe.method, sends: true, auth }).map(|_request| ())
}

/// Headers and body may hold secrets: no error says what is in them.
fn request(probe: &HttpProbe, place: &Place, question: &Question<'_>) -> Result<Request<Full<Bytes>>, String> {
    let method = match question.method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Options => Method::OPTIONS,
    };
    let scheme = if place.tls { "https" } else { "http" };
    // HTTP/2 has the name in its target, HTTP/1.1 in a header.
    let target = if probe.http2 { format!("{scheme}://{}{}", place.host, place.path) } else { place.path.clone() };
    let sent = probe.send.as_ref().filter(|_| question.sends).map(|it| Bytes::from(it.0.clone()));
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, place.host.as_str())
        .body(Full::new(sent.unwrap_or_default()))
        .map_err(|error| format!("the request: {error}"))?;
    let headers = request.headers_mut();
    for (name, value) in probe.headers.iter().filter(|_| question.sends) {
        let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_invalid| format!("{name:?} is no header"))?;
        let mut value =
            HeaderValue::from_str(&value.0).map_err(|_invalid| format!("the value of {name} can't be sent"))?;
        value.set_sensitive(true);
        headers.insert(known, value);
    }
    if let Some(auth) = question.auth {
        headers.insert(header::AUTHORIZATION, auth.clone());
    }
    Ok(request)
}

fn is_expected(status: StatusCode, ranges: &[(u16, u16)]) -> bool {
    match ranges {
        [] => status.is_success(),
        ranges => ranges.iter().any(|(first, last)| (*first..=*last).contains(&status.as_u16())),
    }
}

/// Whether one of the headers of that name contains the text.
fn has(headers: &HeaderMap, name: &str, text: &str) -> bool {
    headers.get_all(name).iter().any(|it| String::from_utf8_lossy(it.as_bytes()).contains(text))
}

fn text_of<'a>(headers: &'a HeaderMap, name: Option<&str>) -> Option<&'a str> {
    headers.get(name?)?.to_str().ok()
}
