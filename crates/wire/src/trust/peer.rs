//! Who a certificate says its holder is.
//!
//! It stands in one URI among the certificate's alternative names: `mainstay://SITE/agent` or
//! `mainstay://SITE/host/NAME`. Addresses don't count: whoever holds the key is the agent, wherever it is reached.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::refusal::Refusal;
use super::wall::seconds;

/// What one end may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Decides for a site.
    Agent,
    /// Hands on a machine of a site.
    Host,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Agent => "agent",
            Role::Host => "host",
        })
    }
}

/// A certificate's number, which its authority gives once: hexadecimal, lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Serial(String);

impl Serial {
    pub(super) fn new(bytes: &[u8]) -> Serial {
        let bytes = bytes.iter().skip_while(|it| **it == 0);
        Serial(bytes.map(|it| format!("{it:02x}")).collect())
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a certificate says about its holder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The site that both ends belong to.
    pub site: String,
    /// What it may be.
    pub role: Role,
    /// A host's name; the site's for an agent.
    pub name: String,
    /// Of its certificate.
    pub serial: Serial,
    /// From when on the certificate is valid.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

impl Peer {
    /// Reads a certificate. It says nothing about whether that certificate can be believed.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<Peer, Refusal> {
        let foreign = |what: &str| Refusal::Foreign { what: what.to_owned() };
        let (_, read) = X509Certificate::from_der(certificate).map_err(|_| foreign("it can't be read"))?;
        let names = read.subject_alternative_name().map_err(|_| foreign("its names can't be read"))?;
        let uris = names
            .iter()
            .flat_map(|it| &it.value.general_names)
            .filter_map(|it| if let GeneralName::URI(uri) = it { Some(*uri) } else { None });
        let mut ours = uris.filter_map(parse);
        let (site, role, name) = ours.next().ok_or_else(|| foreign("it names no role at any site"))?;
        if ours.next().is_some() {
            return Err(foreign("it names more than one role"));
        }
        let validity = read.validity();
        Ok(Peer {
            site,
            role,
            name,
            serial: Serial::new(read.tbs_certificate.raw_serial()),
            from: seconds(validity.not_before.timestamp()),
            until: seconds(validity.not_after.timestamp()),
        })
    }

    /// From when on a new certificate is to be asked for: when a third of the time is left.
    pub fn renew_from(&self) -> Timestamp {
        let life = self.until.as_second().saturating_sub(self.from.as_second());
        seconds(self.until.as_second().saturating_sub(life / 3))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&described(&self.site, self.role, &self.name))
    }
}

/// When a certificate begins and ends.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Result<(Timestamp, Timestamp), &'static str> {
    let (_, read) = X509Certificate::from_der(certificate).map_err(|_| "its certificate can't be read")?;
    let validity = read.validity();
    Ok((seconds(validity.not_before.timestamp()), seconds(validity.not_after.timestamp())))
}

/// The names and IP addresses in a certificate, for the tools of others.
pub(super) fn addresses(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, read)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let names = read.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|it| &it.value.general_names);
    #[expect(clippy::wildcard_enum_match_arm, reason = "other kinds are never asked for")]
    let addresses = names.filter_map(|it| match it {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|it| IpAddr::from(it).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|it| IpAddr::from(it).to_string()),
        },
        _ => None,
    });
    addresses.collect()
}

pub(super) fn described(site: &str, role: Role, name: &str) -> String {
    match role {
        Role::Agent => format!("the agent of site {site}"),
        Role::Host => format!("host {name} of site {site}"),
    }
}

pub(super) fn uri(site: &str, role: Role, name: &str) -> String {
    match role {
        Role::Agent => format!("mainstay://{site}/agent"),
        Role::Host => format!("mainstay://{site}/host/{name}"),
    }
}

fn parse(uri: &str) -> Option<(String, Role, String)> {
    let (site, rest) = uri.strip_prefix("mainstay://")?.split_once('/')?;
    let (role, name) = match rest.split_once('/') {
        None if rest == "agent" => (Role::Agent, site),
        Some(("host", name)) => (Role::Host, name),
        _ => return None,
    };
    (is_name(site) && is_name(name)).then(|| (site.to_owned(), role, name.to_owned()))
}

/// Whether a plan could name a site or a host so.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|it: char| it.is_ascii_alphanumeric())
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_says_who_it_is_and_nothing_else_does() {
        for (site, role, name) in [("shop-a", Role::Agent, "shop-a"), ("shop.a", Role::Host, "db_1.x")] {
            assert_eq!(parse(&uri(site, role, name)), Some((site.to_owned(), role, name.to_owned())));
        }
        for wrong in [
            "",
            "mainstay://",
            "mainstay://shop",
            "mainstay://shop/",
            "mainstay://shop/agent/",
            "mainstay://shop/agent/x",
            "mainstay://shop/host",
            "mainstay://shop/host/",
            "mainstay://shop/host/a/b",
            "mainstay:///host/a",
            "mainstay://shop/hosts/a",
            "mainstay://shop/host/-a",
            "mainstay://shop/host/a b",
            "https://shop/host/a",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_serial_has_one_spelling() {
        assert_eq!(Serial::new(&[0, 0x0a, 0xff]), Serial::new(&[0x0a, 0xff]));
        assert_eq!(Serial::new(&[0x0a, 0xff]).to_string(), "0aff");
    }
}
