//! `mainstay enroll list`: who has joined, and who may.

use jiff::Timestamp;
use mainstay_wire::trust::{Authority, Enrolled, Invited};
use serde::Serialize;

use super::open;
use crate::commands::Cx;
use crate::exit::{Answer, Failure, causes};
use crate::look::{Table, Tone, say, say_json};

/// List the hosts that have joined, and the tokens that may still be used
///
/// It reads the files of the authority, whether or not an agent runs; `mainstay hosts` says which hosts are connected.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay enroll list
  mainstay enroll list --json | jq -r '.hosts[] | select(.state == \"joined\") | .host'")]
pub(crate) struct List {
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    site: String,
    authority_until: String,
    hosts: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    host: String,
    /// `joined`, `revoked`, `ended`, or `invited`.
    state: &'static str,
    /// When its certificate, or its token, ends.
    until: String,
    /// Of the certificate.
    serial: Option<String>,
    #[serde(skip)]
    words: String,
}

impl List {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let authority = open(&cx.state)?;
        let hosts = rows(&authority)?;
        let (site, until) = (authority.site().to_owned(), authority.until().to_string());
        if self.json {
            say_json(&Report { site, authority_until: until, hosts })?;
            return Ok(Answer::Yes);
        }
        let mut text = format!("site {site}, authority until {until}\n");
        if hosts.is_empty() {
            text.push_str("no host has joined: `mainstay enroll token HOST` lets one\n");
        } else {
            let mut table = Table::new(&["HOST", "STATE", "UNTIL", ""]);
            for row in hosts {
                let tone = match row.state {
                    "joined" => Tone::Good,
                    "invited" => Tone::Plain,
                    _ => Tone::Warn,
                };
                let cells = [
                    (Tone::Strong, row.host),
                    (tone, row.state.to_owned()),
                    (Tone::Plain, row.until),
                    (Tone::Dim, row.words),
                ];
                table.row(cells, String::new());
            }
            text.push_str(&table.render(cx.look, 0));
        }
        say(&text)?;
        Ok(Answer::Yes)
    }
}

fn rows(authority: &Authority) -> Result<Vec<Row>, Failure> {
    let now = authority.now();
    let failed = |it| Failure::unreachable(causes(&it));
    let mut rows: Vec<Row> =
        authority.register().all().map_err(failed)?.into_iter().filter_map(|it| joined(it, now)).collect();
    let open = authority.invited().map_err(failed)?.into_iter().filter(|it| it.used.is_none() && it.until >= now);
    rows.extend(open.map(invited));
    rows.sort_by(|a, b| a.host.cmp(&b.host));
    Ok(rows)
}

fn joined(host: Enrolled, now: Timestamp) -> Option<Row> {
    let newest = host.certificates.last()?;
    let (state, words) = match newest.revoked {
        Some(at) => ("revoked", format!("at {at}")),
        None if newest.until < now => ("ended", "it was away for too long: join it again with a new token".to_owned()),
        None => ("joined", String::new()),
    };
    let until = newest.until.to_string();
    Some(Row { host: host.host, state, until, serial: Some(newest.serial.to_string()), words })
}

fn invited(token: Invited) -> Row {
    let words = "a token that was not used yet".to_owned();
    Row { host: token.host, state: "invited", until: token.until.to_string(), serial: None, words }
}
