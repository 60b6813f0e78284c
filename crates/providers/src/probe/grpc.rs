//! The health protocol of gRPC: `grpc.health.v1.Health/Check`, one message there and one back.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode, header};
use mainstay_plan::observation::{Answer, Concerns};
use mainstay_plan::probe::GrpcProbe;
use tokio::time::Instant;

use crate::http::{self, Connection, MAX_BODY, Secured};
use crate::so_far::SoFar;
use crate::tls::{self, Spoken};
use crate::{Inner, ProbeAnswer, trouble};

const CONTENT_TYPE: &str = "application/grpc";

pub(super) async fn ask(
    inner: &Inner,
    probe: &GrpcProbe,
    deadline: Instant,
    so_far: &SoFar<Answer>,
) -> Result<ProbeAnswer, Answer> {
    let ours = |text: String| Answer::CouldNotAsk(trouble::clip(&text));
    let request = request(probe, deadline).map_err(ours)?;
    so_far.set(ours("reading the trusted certificates took too long".to_owned()));
    let trust = match probe.tls {
        true => {
            let name = tls::server_name(&probe.name).map_err(ours)?;
            let trust = inner.tls.get(&inner.gates, probe.ca_file.as_deref(), Spoken::Http2).await.map_err(ours)?;
            Some((trust, name))
        }
        false => None,
    };
    let secured = trust.as_ref().map(|(it, name)| Secured { config: it.config.clone(), name: name.clone() });
    let connection = http::open(&inner.names, &probe.address, secured, deadline, so_far).await?;
    let expiring = match (&connection, &trust, probe.expires_after) {
        (Connection::Tls(stream), Some((trust, name)), Some(within)) => trust.expiring(stream, name, within),
        (Connection::Tls(_) | Connection::Plain(_), _, _) => None,
    };
    let answer = http::ask_h2(connection, request, judge).await?;
    Ok(ProbeAnswer { concerns: Concerns { expiring, ..Concerns::default() }, ..answer.into() })
}

/// Why the question can't be asked.
pub(crate) fn check_grpc(probe: &GrpcProbe) -> Result<(), String> {
    request(probe, Instant::now()).map(|_request| ())
}

fn request(probe: &GrpcProbe, deadline: Instant) -> Result<Request<Full<Bytes>>, String> {
    let scheme = if probe.tls { "https" } else { "http" };
    let left = deadline.saturating_duration_since(Instant::now()).as_millis().min(99_999_999);
    Request::post(format!("{scheme}://{}/grpc.health.v1.Health/Check", probe.name))
        .header(header::CONTENT_TYPE, CONTENT_TYPE)
        .header(header::TE, "trailers")
        .header("grpc-timeout", format!("{left}m"))
        .body(Full::new(Bytes::from(question(&probe.service))))
        .map_err(|error| format!("the request: {error}"))
}

/// `HealthCheckRequest { string service = 1; }`, behind its flag and length.
fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(1 << 3 | 2);
        varint(&mut message, service.len());
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message);
    framed
}

fn varint(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

async fn judge(response: Response<Incoming>) -> Result<Answer, Answer> {
    let (head, mut body) = response.into_parts();
    if head.status != StatusCode::OK {
        return Ok(Answer::Wrong(format!("status {}", head.status)));
    }
    let kind = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !kind.starts_with(CONTENT_TYPE.as_bytes()) {
        return Ok(Answer::Wrong("not a gRPC answer".to_owned()));
    }
    // An answer without a message has its trailers where the headers are.
    if let Some(answer) = failure(&head.headers) {
        return Ok(answer);
    }
    let mut bytes = Vec::new();
    let mut trailers = HeaderMap::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| http::failed(&error))?;
        match frame.into_data() {
            Ok(data) if bytes.len() + data.len() > MAX_BODY => {
                return Ok(Answer::Wrong("a gRPC answer longer than 64 KiB".to_owned()));
            }
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    if let Some(answer) = failure(&trailers) {
        return Ok(answer);
    }
    if !trailers.contains_key("grpc-status") && !head.headers.contains_key("grpc-status") {
        return Ok(Answer::Wrong("the gRPC answer ended without a status".to_owned()));
    }
    Ok(match status(&bytes) {
        Some(1) => Answer::Good,
        Some(0) => Answer::Wrong("health UNKNOWN".to_owned()),
        Some(2) => Answer::Wrong("health NOT_SERVING".to_owned()),
        Some(3) => Answer::Wrong("health SERVICE_UNKNOWN".to_owned()),
        Some(other) => Answer::Wrong(format!("health {other}")),
        None => Answer::Wrong("a gRPC answer that can't be read".to_owned()),
    })
}

/// What a `grpc-status` other than 0 says; `None` where there is none.
fn failure(headers: &HeaderMap) -> Option<Answer> {
    let code = headers.get("grpc-status")?.to_str().unwrap_or("unreadable");
    let meaning = match code {
        "0" => return None,
        "4" => " (deadline exceeded)",
        "5" => " (not found: it does not know this service)",
        "7" => " (permission denied)",
        "12" => " (unimplemented: it has no health service)",
        "14" => " (unavailable)",
        "16" => " (unauthenticated)",
        _ => "",
    };
    let message = headers.get("grpc-message").and_then(|it| it.to_str().ok());
    let message = message.filter(|it| !it.is_empty()).map(|it| format!(": {it}")).unwrap_or_default();
    Some(Answer::Wrong(trouble::clip(&format!("gRPC status {code}{meaning}{message}"))))
}

/// `HealthCheckResponse { ServingStatus status = 1; }`, behind its flag and length. The last of several counts; fields of
/// other numbers are passed over.
fn status(bytes: &[u8]) -> Option<u64> {
    let (head, message) = bytes.split_at_checked(5)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?);
    // Compressed is only what we asked to be.
    if head[0] != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    let mut rest = message;
    let mut found = 0;
    while !rest.is_empty() {
        let key = number(&mut rest)?;
        match key & 7 {
            0 => {
                let value = number(&mut rest)?;
                if key >> 3 == 1 {
                    found = value;
                }
            }
            1 => rest = rest.get(8..)?,
            2 => {
                let length = usize::try_from(number(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(found)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..10 {
        let (byte, others) = rest.split_first()?;
        *rest = others;
        value |= u64::from(byte & 0x7f).checked_shl(7 * at)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_framed() {
        assert_eq!(question(""), [0, 0, 0, 0, 0]);
        assert_eq!(question("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(question(&"x".repeat(300))[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
    }

    #[test]
    fn the_answer_is_read_and_nonsense_is_not() {
        assert_eq!(status(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(status(&[0, 0, 0, 0, 0]), Some(0), "what is 0 is not sent");
        // A string as field 2, then the status in two bytes.
        assert_eq!(status(&[0, 0, 0, 0, 7, 0x12, 2, b'o', b'k', 8, 0x82, 0]), Some(2));
        let broken: [&[u8]; 7] = [
            &[],
            &[0, 0, 0],
            &[0, 0, 0, 0, 3, 8, 1],
            &[1, 0, 0, 0, 2, 8, 1],
            &[0, 0, 0, 0, 1, 8],
            &[0, 0, 0, 0, 2, 0x12, 9],
            &[0, 0, 0, 0, 1, 0x0b],
        ];
        for bytes in broken {
            assert_eq!(status(bytes), None, "{bytes:?}");
        }
    }
}
