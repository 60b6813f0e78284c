//! An HTTP request, and whether its answer is as expected.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::http::HeaderMap;
use hyper::{Request, StatusCode, header};
use mainstay_plan::observation::Answer;
use mainstay_plan::probe::HttpProbe;
use rustls::pki_types::ServerName;
use tokio::time::Instant;

use super::word;
use crate::http::{self, Body, Connection, Secured};
use crate::so_far::SoFar;
use crate::tls::{self, Spoken, Trust};
use crate::{Inner, ProbeAnswer, lag, trouble};

pub(super) async fn ask(
    inner: &Inner,
    probe: &HttpProbe,
    deadline: Instant,
    so_far: &SoFar<Answer>,
) -> Result<ProbeAnswer, Answer> {
    let request = http_request(probe).map_err(|text| Answer::CouldNotAsk(trouble::clip(&text)))?;
    so_far.set(Answer::CouldNotAsk("reading the trusted certificates took too long".to_owned()));
    let trust = match probe.tls {
        true => Some(trust(inner, probe).await.map_err(|text| Answer::CouldNotAsk(trouble::clip(&text)))?),
        false => None,
    };
    let secured = trust.as_ref().map(|(it, name)| Secured { config: it.config.clone(), name: name.clone() });
    let connection = http::open(&inner.gates, &probe.address, secured, deadline, so_far).await?;
    let expiring = match (&connection, &trust, probe.expires_after) {
        (Connection::Tls(stream), Some((trust, name)), Some(within)) => trust.expiring(stream, name, within),
        (Connection::Tls(_) | Connection::Plain(_), _, _) => None,
    };
    let body = probe.expect_body.as_deref().map_or(Body::Ignore, Body::Find);
    let reply = http::ask(connection, request, body).await?;
    let answer = if !is_expected(reply.status, &probe.expect_status) {
        Answer::Wrong(format!("status {}", reply.status))
    } else if probe.expect_body.as_deref().is_some_and(|text| !text.is_empty()) && !reply.found {
        Answer::Wrong(format!("status {}, without the expected text", reply.status))
    } else {
        Answer::Good
    };
    let lag = text_of(&reply.headers, probe.lag_header.as_deref()).and_then(lag::parse);
    let role = text_of(&reply.headers, probe.role_header.as_deref()).map(word);
    Ok(ProbeAnswer { answer, lag, role, expiring })
}

/// The request of a probe, or why it can't be one.
pub(crate) fn http_request(probe: &HttpProbe) -> Result<Request<Full<Bytes>>, String> {
    Request::get(probe.path.as_str())
        .header(header::HOST, probe.host.as_str())
        .body(Full::default())
        .map_err(|error| format!("the request: {error}"))
}

async fn trust(inner: &Inner, probe: &HttpProbe) -> Result<(Trust, ServerName<'static>), String> {
    let name = tls::server_name(&probe.host)?;
    let trust = inner.tls.get(&inner.gates, probe.ca_file.as_deref(), Spoken::Http1).await?;
    Ok((trust, name))
}

fn is_expected(status: StatusCode, ranges: &[(u16, u16)]) -> bool {
    match ranges {
        [] => status.is_success(),
        ranges => ranges.iter().any(|(first, last)| (*first..=*last).contains(&status.as_u16())),
    }
}

fn text_of<'a>(headers: &'a HeaderMap, name: Option<&str>) -> Option<&'a str> {
    headers.get(name?)?.to_str().ok()
}
