//! Where an HTTP request goes, and where an answer sends it on to.

use std::net::{IpAddr, SocketAddr};

use hyper::http::uri::Authority;
use mainstay_plan::probe::{Address, HttpProbe};

/// Whom to ask for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) tls: bool,
    pub(crate) address: Address,
    /// The value of `Host`, which may have a port.
    pub(crate) host: String,
    /// Path and query.
    pub(crate) path: String,
}

impl Place {
    pub(crate) fn of(probe: &HttpProbe) -> Place {
        Place { tls: probe.tls, address: probe.address.clone(), host: probe.host.clone(), path: probe.path.clone() }
    }

    /// Whether it is the same server, asked in the same way.
    pub(crate) fn is_same_server(&self, other: &Place) -> bool {
        self.tls == other.tls && self.address == other.address && self.host.eq_ignore_ascii_case(&other.host)
    }

    /// Where `location` leads from here (RFC 3986, section 5.2). The name that was asked for stays with the machine that was
    /// asked: a redirect of the instance to itself does not lead to another one by way of a name server.
    pub(crate) fn redirected(&self, location: &str) -> Result<Place, String> {
        let location = location.split('#').next().unwrap_or_default();
        let (tls, rest) = if let Some(rest) = without(location, "https:") {
            (true, rest)
        } else if let Some(rest) = without(location, "http:") {
            (false, rest)
        } else {
            (self.tls, location)
        };
        if self.tls && !tls {
            return Err(format!("redirected from https to plain http: {location}"));
        }
        let Some(rest) = rest.strip_prefix("//") else {
            if rest.len() < location.len() || location.split('/').next().is_some_and(|it| it.contains(':')) {
                return Err(format!("redirected to what is no URL of HTTP: {location}"));
            }
            return Ok(Place { path: self.beside(rest), ..self.clone() });
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        if tls == self.tls && authority.eq_ignore_ascii_case(&self.host) {
            return Ok(Place { path, ..self.clone() });
        }
        let parsed: Authority =
            authority.parse().map_err(|_invalid| format!("redirected to what is no URL: {location}"))?;
        if authority.contains('@') || parsed.host().is_empty() {
            return Err("redirected to a URL with a user name, or without a host".to_owned());
        }
        let port = parsed.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let own: Option<Authority> = self.host.parse().ok();
        let address = match own {
            Some(own) if own.host().eq_ignore_ascii_case(parsed.host()) => at_port(&self.address, port),
            Some(_) | None => {
                let host = parsed.host().trim_matches(['[', ']']);
                match host.parse::<IpAddr>() {
                    Ok(ip) => Address::Socket(SocketAddr::new(ip, port)),
                    Err(_name) => Address::Name { host: host.to_owned(), port },
                }
            }
        };
        Ok(Place { tls, address, host: authority.to_owned(), path })
    }

    /// A path that may be relative to this one.
    fn beside(&self, path: &str) -> String {
        let own = self.path.split('?').next().unwrap_or("/");
        if path.starts_with('/') {
            path.to_owned()
        } else if path.is_empty() {
            self.path.clone()
        } else if path.starts_with('?') {
            format!("{own}{path}")
        } else {
            let folder = own.rfind('/').map_or("/", |at| &own[..=at]);
            format!("{folder}{path}")
        }
    }
}

fn without<'t>(text: &'t str, scheme: &str) -> Option<&'t str> {
    text.get(..scheme.len()).filter(|it| it.eq_ignore_ascii_case(scheme)).map(|_| &text[scheme.len()..])
}

fn at_port(address: &Address, port: u16) -> Address {
    match address {
        Address::Socket(socket) => Address::Socket(SocketAddr::new(socket.ip(), port)),
        Address::Name { host, .. } => Address::Name { host: host.clone(), port },
        Address::ResolvedBy { server, name, .. } => Address::ResolvedBy { server: *server, name: name.clone(), port },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(tls: bool) -> Place {
        Place {
            tls,
            address: Address::Socket(([10, 0, 1, 10], 8080).into()),
            host: "shop.example".to_owned(),
            path: "/a/b?c=1".to_owned(),
        }
    }

    #[test]
    fn paths_lead_to_the_same_server() {
        let cases = [("/x", "/x"), ("x?y", "/a/x?y"), ("?z", "/a/b?z"), ("", "/a/b?c=1"), ("/x#y", "/x")];
        for (location, path) in cases.into_iter().chain([("http://shop.example/x", "/x"), ("//SHOP.example?q", "/?q")])
        {
            let there = here(false).redirected(location).expect(location);
            assert_eq!(there, Place { path: path.to_owned(), ..here(false) }, "{location}");
            assert!(there.is_same_server(&here(false)));
        }
    }

    #[test]
    fn the_name_that_was_asked_for_stays_with_its_machine() {
        let secured = here(false).redirected("https://shop.example/login").expect("a URL");
        assert_eq!((secured.tls, &secured.address), (true, &Address::Socket(([10, 0, 1, 10], 443).into())));
        assert!(!secured.is_same_server(&here(false)));
        let other = here(false).redirected("http://login.example:81/").expect("a URL");
        assert_eq!(other.address, Address::Name { host: "login.example".to_owned(), port: 81 });
        assert_eq!(other.host, "login.example:81");
        let by_address = here(false).redirected("HTTP://[2001:db8::1]/").expect("a URL");
        assert_eq!(by_address.address, Address::Socket("[2001:db8::1]:80".parse().expect("an address")));
    }

    #[test]
    fn nonsense_and_plain_text_are_not_followed() {
        for location in ["ftp://h/", "http:/x", "mailto:a@b", "http://user@h/", "http://", "http://a b/"] {
            assert!(here(false).redirected(location).is_err(), "{location}");
        }
        assert!(here(true).redirected("http://shop.example/").is_err());
    }
}
