//! One question to one name server, over UDP, and over TCP when the answer does not fit.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use mainstay_plan::observation::Answer;
use mainstay_plan::probe::DnsRecord;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{source, trouble};

/// The largest answer over UDP without EDNS is 512 bytes (RFC 1035 §4.2.1); servers that send more are read too.
const MAX_DATAGRAM: usize = 4096;

/// Asks `server` for `name` and compares one of the answers with `expect`.
pub(crate) async fn probe(server: SocketAddr, name: &str, record: DnsRecord, expect: Option<&str>) -> Answer {
    let texts = match ask(server, name, record).await {
        Ok(found) => found.iter().map(text).collect::<Vec<_>>(),
        Err(answer) => return answer,
    };
    let Some(first) = texts.first() else {
        return Answer::Wrong(trouble::clip(&format!("no {} record for {name}", record.word())));
    };
    match expect {
        Some(expected) if !texts.iter().any(|text| matches(record, text, expected)) => {
            Answer::Wrong(trouble::clip(&format!("got {first}, not {expected}")))
        }
        Some(_) | None => Answer::Good,
    }
}

/// The addresses of `name` as `server` knows them; none when the name has none of this type.
pub(crate) async fn addresses(server: SocketAddr, name: &str, record: DnsRecord) -> Result<Vec<IpAddr>, Answer> {
    let found = ask(server, name, record).await?;
    Ok(found.iter().filter_map(RData::ip_addr).collect())
}

/// The data of the records of the type asked for.
async fn ask(server: SocketAddr, name: &str, record: DnsRecord) -> Result<Vec<RData>, Answer> {
    let question = Question::new(name, record)?;
    let bytes = question.to_bytes()?;
    let mut message = over_udp(server, &question, &bytes).await?;
    if message.metadata.truncation {
        message = over_tcp(server, &question, &bytes).await?;
    }
    let code = message.metadata.response_code;
    if code == ResponseCode::Refused {
        return Err(Answer::Refused(format!("{server} refused the question")));
    }
    if code != ResponseCode::NoError {
        return Err(Answer::Wrong(trouble::clip(&format!("{server} answered: {code}"))));
    }
    let kind = record_type(record);
    Ok(message.answers.into_iter().filter(|answer| answer.record_type() == kind).map(|answer| answer.data).collect())
}

/// What is asked, kept to tell its answer from anything else that arrives.
struct Question {
    id: u16,
    query: Query,
}

impl Question {
    /// The id is random, so that nobody who can't read our packets can answer in the server's place.
    fn new(name: &str, record: DnsRecord) -> Result<Question, Answer> {
        let name = Name::from_ascii(name)
            .map_err(|error| Answer::CouldNotAsk(trouble::clip(&format!("{name} is no DNS name: {error}"))))?;
        let mut id = [0; 2];
        rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| trouble::answer("drawing a random number", &error.into()))?;
        let mut query = Query::query(name, record_type(record));
        query.name.set_fqdn(true);
        Ok(Question { id: u16::from_ne_bytes(id), query })
    }

    fn to_bytes(&self) -> Result<Vec<u8>, Answer> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(self.query.clone());
        message.to_vec().map_err(|error| Answer::CouldNotAsk(trouble::clip(&format!("the question: {error}"))))
    }

    /// The message that answers this question; `None` when it is another one's, `Wrong` when it can't be read.
    fn answer(&self, bytes: &[u8]) -> Option<Result<Message, Answer>> {
        if bytes.get(..2)? != self.id.to_be_bytes() {
            return None;
        }
        let message = match Message::from_vec(bytes) {
            Ok(message) => message,
            Err(error) => {
                return Some(Err(Answer::Wrong(trouble::clip(&format!("the answer can't be read: {error}")))));
            }
        };
        if message.metadata.message_type != MessageType::Response {
            return None;
        }
        // Some servers leave the question out when they refuse it.
        let same = match message.queries.as_slice() {
            [] => message.metadata.response_code != ResponseCode::NoError,
            [query] => *query == self.query,
            _ => false,
        };
        same.then_some(Ok(message))
    }
}

async fn over_udp(server: SocketAddr, question: &Question, bytes: &[u8]) -> Result<Message, Answer> {
    let doing = format!("asking {server}");
    let failed = |error: io::Error| trouble::answer(&doing, &error);
    let socket = source::udp(server).await.map_err(failed)?;
    socket.send(bytes).await.map_err(failed)?;
    let mut buffer = [0; MAX_DATAGRAM];
    loop {
        let len = socket.recv(&mut buffer).await.map_err(failed)?;
        if let Some(answer) = question.answer(&buffer[..len]) {
            return answer;
        }
    }
}

/// A two-byte length goes before each message (RFC 1035 §4.2.2).
async fn over_tcp(server: SocketAddr, question: &Question, bytes: &[u8]) -> Result<Message, Answer> {
    let doing = format!("asking {server} over TCP");
    let failed = |error: io::Error| trouble::answer(&doing, &error);
    let mut stream = source::connect(server).await.map_err(failed)?;
    let len = u16::try_from(bytes.len()).map_err(|error| failed(io::Error::other(error)))?;
    let mut framed = len.to_be_bytes().to_vec();
    framed.extend_from_slice(bytes);
    stream.write_all(&framed).await.map_err(failed)?;
    let len = stream.read_u16().await.map_err(failed)?;
    let mut buffer = vec![0; usize::from(len)];
    stream.read_exact(&mut buffer).await.map_err(failed)?;
    question.answer(&buffer).unwrap_or_else(|| Err(Answer::Wrong(format!("{server} answered another question"))))
}

const fn record_type(record: DnsRecord) -> RecordType {
    match record {
        DnsRecord::A => RecordType::A,
        DnsRecord::Aaaa => RecordType::AAAA,
        DnsRecord::Cname => RecordType::CNAME,
        DnsRecord::Txt => RecordType::TXT,
        DnsRecord::Soa => RecordType::SOA,
    }
}

/// A record's data as people write it; the strings of a TXT record joined, as SPF and DKIM read them.
fn text(data: &RData) -> String {
    if let RData::TXT(txt) = data {
        return txt.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect();
    }
    data.to_string()
}

/// Addresses are compared as addresses and names without case and final dot; the rest as text.
fn matches(record: DnsRecord, got: &str, expected: &str) -> bool {
    match record {
        DnsRecord::A | DnsRecord::Aaaa => match (got.parse::<IpAddr>(), expected.parse::<IpAddr>()) {
            (Ok(got), Ok(expected)) => got == expected,
            _ => false,
        },
        DnsRecord::Cname => got.trim_end_matches('.').eq_ignore_ascii_case(expected.trim_end_matches('.')),
        DnsRecord::Txt | DnsRecord::Soa => got == expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_compare_what_is_meant() {
        assert!(matches(DnsRecord::Aaaa, "2001:db8::1", "2001:0DB8:0:0::1"));
        assert!(!matches(DnsRecord::A, "192.0.2.1", "192.0.2.10"));
        assert!(matches(DnsRecord::Cname, "db.example.", "DB.example"));
        assert!(!matches(DnsRecord::Txt, "Yes", "yes"));
    }

    #[test]
    fn only_the_answer_to_this_question_counts() {
        let question = Question::new("db.example.", DnsRecord::A).expect("a name");
        let mut reply = Message::from_vec(&question.to_bytes().expect("a question")).expect("readable").into_response();
        assert!(question.answer(&reply.to_vec().expect("bytes")).is_some());
        reply.metadata.id = question.id.wrapping_add(1);
        assert!(question.answer(&reply.to_vec().expect("bytes")).is_none(), "another id");
        let other =
            Question { id: question.id, query: Question::new("x.example.", DnsRecord::A).expect("a name").query };
        let reply = Message::from_vec(&other.to_bytes().expect("a question")).expect("readable").into_response();
        assert!(question.answer(&reply.to_vec().expect("bytes")).is_none(), "another name");
        let mut garbage = question.id.to_be_bytes().to_vec();
        garbage.extend([0xff; 5]);
        assert!(matches!(question.answer(&garbage), Some(Err(Answer::Wrong(_)))));
    }
}
