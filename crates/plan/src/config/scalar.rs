//! Values of one piece of text: durations, addresses, URLs, names. Each reader says what is wrong in words that fit
//! behind "because"; places and codes are its caller's affair.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::probe::Address;

/// The longest duration that a plan may hold: sums of a few thousand still fit everywhere.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// `1m30s`, `250ms`, `2h`: whole numbers with a unit, each unit once, the largest first.
pub fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("it is empty".to_owned());
    }
    let mut total: u64 = 0;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|it: char| it.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|it: char| !it.is_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        if tail.starts_with('.') || tail.starts_with(',') {
            return Err("fractions are not used: write `1s500ms` for one and a half seconds".to_owned());
        }
        if number.is_empty() {
            return Err(format!("`{rest}` does not begin with a number"));
        }
        if unit.is_empty() {
            return Err(format!("`{number}` has no unit"));
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("`{unit}` is no unit of time"));
        };
        if *scale >= smallest {
            return Err("larger units stand first, and each only once".to_owned());
        }
        smallest = *scale;
        let part = number.parse::<u64>().ok().and_then(|it| it.checked_mul(*scale));
        total = part.and_then(|it| total.checked_add(it)).ok_or("it is too long")?;
        rest = tail;
    }
    let total = Duration::from_millis(total);
    if total > LONGEST { Err("it is longer than ten years".to_owned()) } else { Ok(total) }
}

/// What `500 ms` is meant to be: a text that is a duration but for the blanks in it.
pub(crate) fn without_blanks(text: &str) -> Option<String> {
    let text = text.trim();
    let whole: String = text.split_whitespace().collect();
    (whole != text && duration(&whole).is_ok()).then_some(whole)
}

/// A duration as it would stand in a plan: `1m30s`. Parts below a millisecond are rounded up.
pub(crate) fn show_duration(duration: Duration) -> String {
    let mut rest = duration.as_nanos().div_ceil(1_000_000);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, scale) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if rest >= scale {
            text.push_str(&format!("{}{unit}", rest / scale));
            rest %= scale;
        }
    }
    text
}

/// `10.0.0.0/8`, or an address alone.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let network: IpNet = text.parse().map_err(|_| match text.split_once('/') {
        Some((address, length)) if address.parse::<IpAddr>().is_ok() => format!("`{length}` is no number of its bits"),
        Some((address, _)) => format!("`{address}` is no IP address"),
        None => "it is not `IP/LENGTH`".to_owned(),
    })?;
    let begins = network.trunc();
    if begins == network { Ok(network) } else { Err(format!("the network begins at `{begins}`")) }
}

/// `10.0.0.1:80` or `[::1]:80`.
pub(crate) fn socket(text: &str) -> Result<SocketAddr, String> {
    if let Ok(socket) = text.parse() {
        return Ok(socket);
    }
    Err(match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') && text.parse::<Ipv6Addr>().is_err() && !host.starts_with('[') => {
            "an IPv6 address stands in brackets: `[2001:db8::1]:80`".to_owned()
        }
        Some((host, port)) if host.parse::<IpAddr>().is_ok() && port.parse::<u16>().is_err() => {
            format!("`{port}` is no port from 0 to 65535")
        }
        Some((host, _)) => format!("`{host}` is no IP address"),
        None if text.parse::<IpAddr>().is_ok() => "it has no port".to_owned(),
        None => "it is not `IP:PORT`".to_owned(),
    })
}

/// `10.0.0.1:80`, `[::1]:80` or `db.example.com:80`. Port 0 means nothing for something to connect to.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return if socket.port() == 0 {
            Err("port 0 can't be connected to".to_owned())
        } else {
            Ok(Address::Socket(socket))
        };
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(if text.parse::<IpAddr>().is_ok() || host_name(text) {
            "it has no port".to_owned()
        } else {
            "it is not `HOST:PORT`".to_owned()
        });
    };
    if host.contains(':') {
        return Err("an IPv6 address stands in brackets: `[2001:db8::1]:80`".to_owned());
    }
    let port = match port.parse::<u16>() {
        Ok(port) if port > 0 => port,
        Ok(_) | Err(_) => return Err(format!("`{port}` is no port from 1 to 65535")),
    };
    if host.chars().all(|it| it.is_ascii_digit() || it == '.') {
        return Err(format!("`{host}` is no IP address"));
    }
    if host_name(host) {
        Ok(Address::Name { host: host.to_owned(), port })
    } else {
        Err(format!("`{host}` is no host name"))
    }
}

fn host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |it: &str| {
        (1..=63).contains(&it.len())
            && it.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !it.starts_with('-')
            && !it.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// A DNS name, made fully qualified (final dot) and lower case.
pub(crate) fn dns_name(text: &str) -> Result<String, String> {
    if !host_name(text) {
        return Err("labels are 1 to 63 letters, digits, `-` or `_`, with dots between them".to_owned());
    }
    let mut name = text.to_ascii_lowercase();
    if !name.ends_with('.') {
        name.push('.');
    }
    Ok(name)
}

/// The parts of a URL that a probe needs.
pub(crate) struct Url {
    pub(crate) tls: bool,
    pub(crate) address: Address,
    /// Without a port.
    pub(crate) host: String,
    /// As it stands in the URL, with its port if it has one: the `Host` header.
    pub(crate) authority: String,
    pub(crate) path: String,
}

/// `http://HOST[:PORT][/PATH]` or `https://…`.
pub(crate) fn url(text: &str) -> Result<Url, String> {
    let (tls, rest) = match text.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        Some((scheme, _)) => return Err(format!("`{scheme}` is neither `http` nor `https`")),
        None => return Err("it does not begin with `http://` or `https://`".to_owned()),
    };
    if text.chars().any(|it| it.is_whitespace() || it.is_control()) {
        return Err("it holds white space".to_owned());
    }
    let rest = rest.split('#').next().unwrap_or(rest);
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    if authority.contains('@') {
        return Err("user names and passwords do not belong into a URL".to_owned());
    }
    let has_port = match authority.rfind(':') {
        Some(colon) => !authority[colon..].contains(']'),
        None => false,
    };
    let port = if tls { 443 } else { 80 };
    let full = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
    let address = address(&full)?;
    let host = full.rsplit_once(':').map_or("", |(host, _)| host).trim_matches(['[', ']']).to_owned();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(Url { tls, address, host, authority: authority.to_owned(), path })
}

/// A name of ours: it stands in the journal, in URLs and on the command line.
pub(crate) fn name(text: &str) -> Result<(), String> {
    let mut bytes = text.bytes();
    match bytes.next() {
        None => return Err("it is empty".to_owned()),
        Some(first) if !first.is_ascii_alphanumeric() => {
            return Err("it does not begin with a letter or a digit".to_owned());
        }
        Some(_) => {}
    }
    if text.len() > 63 {
        return Err("it is longer than 63 characters".to_owned());
    }
    match text.chars().find(|it| !it.is_ascii_alphanumeric() && !matches!(it, '-' | '_' | '.')) {
        Some(' ') => Err("it holds a blank".to_owned()),
        Some(other) => Err(format!("it holds `{}`", other.escape_debug())),
        None => Ok(()),
    }
}

/// A percentage with up to six digits, as parts per million: `99.95` is 999 500.
pub(crate) fn percent_ppm(text: &str) -> Result<u32, String> {
    let text = text.strip_suffix('%').unwrap_or(text).trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |it: &str| it.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return Err("it is no percentage like `99.95`".to_owned());
    }
    if fraction.len() > 4 {
        return Err("it has more than four digits behind the point".to_owned());
    }
    let scaled = format!("{whole}{fraction:0<4}").parse::<u32>().map_err(|_| "it is over 100".to_owned())?;
    match scaled {
        0 => Err("it promises nothing".to_owned()),
        1..=1_000_000 => Ok(scaled),
        _ => Err("it is over 100".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_units() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1d"), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for wrong in ["", "5", "1.5s", "s", "5 s", "1s1s", "1s1m", "5sec", "99999999999999999999s", "4000d", "-1s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        for text in ["1d2h3m4s5ms", "1ms", "90s"] {
            let value = duration(text).unwrap();
            assert_eq!(duration(&show_duration(value)), Ok(value));
        }
    }

    #[test]
    fn addresses_need_a_port() {
        assert_eq!(address("db.local:5432"), Ok(Address::Name { host: "db.local".to_owned(), port: 5432 }));
        assert!(matches!(address("[::1]:80"), Ok(Address::Socket(_))));
        for wrong in ["10.0.0.1", "10.0.0:80", "::1:80:x", "a b:80", "x:0", "x:70000", "10.0.0.1:0", ":80"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn urls_are_taken_apart() {
        let url = url("https://[2001:db8::1]/health?x=1#y").unwrap();
        assert!(url.tls);
        assert_eq!((url.host.as_str(), url.path.as_str()), ("2001:db8::1", "/health?x=1"));
        assert_eq!(url.address, Address::Socket("[2001:db8::1]:443".parse().unwrap()));
    }

    #[test]
    fn percentages_are_parts_per_million() {
        assert_eq!(percent_ppm("99.95"), Ok(999_500));
        assert_eq!(percent_ppm("100"), Ok(1_000_000));
        assert!(percent_ppm("100.1").is_err() && percent_ppm("9x").is_err() && percent_ppm("99.99999").is_err());
    }
}
