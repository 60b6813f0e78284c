//! For whom a question is asked: the client network that a resolver names (EDNS Client Subnet, RFC 7871), or where the
//! question comes from; and what is near to it.

use std::net::IpAddr;

use hickory_proto::op::Edns;
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use mainstay_plan::routing::NearEntry;

/// For whom a question is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    ip: IpAddr,
    /// How many of its bits are known.
    bits: u8,
    named: Option<ClientSubnet>,
}

/// The named network breaks the rules for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Asker {
    /// Who asks from `source` with these options.
    pub(super) fn new(edns: Option<&Edns>, source: IpAddr) -> Result<Asker, Malformed> {
        let source = source.to_canonical();
        let named = match edns.and_then(|it| it.option(EdnsCode::Subnet)) {
            Some(EdnsOption::Subnet(named)) => Some(*named),
            Some(_) | None => None,
        };
        let Some(subnet) = named else { return Ok(Asker { ip: source, bits: width(source), named }) };
        let (ip, bits) = (subnet.addr(), subnet.source_prefix());
        let is_sound =
            subnet.scope_prefix() == 0 && bits <= width(ip) && number(ip).unbounded_shl(u32::from(bits)) == 0;
        match (is_sound, bits) {
            (false, _) => Err(Malformed),
            // It does not say for whom: then whoever asks is all that is known.
            (true, 0) => Ok(Asker { ip: source, bits: width(source), named }),
            (true, _) => Ok(Asker { ip, bits, named }),
        }
    }

    /// The entry that counts for it, and for how many bits of its address the same holds for all its neighbours.
    ///
    /// The second is what may be cached for whom: it reaches at least to where the next network that is treated otherwise
    /// branches off, so that no wider answer hides a narrower one.
    pub(super) fn nearest<'a>(&self, near: &'a [NearEntry]) -> (Option<&'a NearEntry>, u8) {
        let (mut found, mut longest, mut scope) = (None, None, 0);
        for entry in near {
            for network in entry.clients.iter().filter(|it| it.addr().is_ipv4() == self.ip.is_ipv4()) {
                let length = network.prefix_len();
                let common = (number(network.addr()) ^ number(self.ip)).leading_zeros();
                let common = u8::try_from(common).unwrap_or(u8::MAX);
                scope = scope.max(length.min(common.saturating_add(1)));
                if common >= length && length <= self.bits && longest.is_none_or(|it| length > it) {
                    (found, longest) = (Some(entry), Some(length));
                }
            }
        }
        (found, scope)
    }

    /// What the answer says of the network that was named: as it was, with the scope of the answer.
    pub(super) fn option(&self, scope: u8) -> Option<EdnsOption> {
        let named = self.named?;
        let scope = if named.source_prefix() == 0 { 0 } else { scope };
        Some(EdnsOption::Subnet(ClientSubnet::new(named.addr(), named.source_prefix(), scope)))
    }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// The address, its first bit on top.
fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
        IpAddr::V6(ip) => u128::from(ip),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(entries: &[(&str, &str)]) -> Vec<NearEntry> {
        let entry = |(clients, target): &(&str, &str)| NearEntry {
            clients: clients.split(' ').map(|it| it.parse().unwrap()).collect(),
            targets: vec![(*target).to_owned()],
        };
        entries.iter().map(entry).collect()
    }

    fn named(network: &str, source: &str) -> Result<Asker, Malformed> {
        let mut edns = Edns::new();
        edns.options_mut().insert(EdnsOption::Subnet(network.parse().unwrap()));
        Asker::new(Some(&edns), source.parse().unwrap())
    }

    fn answer<'a>(asker: &Asker, near: &'a [NearEntry]) -> (&'a str, u8) {
        let (found, scope) = asker.nearest(near);
        let scope = match asker.option(scope) {
            Some(EdnsOption::Subnet(it)) => it.scope_prefix(),
            Some(_) | None => scope,
        };
        (found.map_or("nobody", |it| it.targets[0].as_str()), scope)
    }

    #[test]
    fn the_longest_prefix_counts_and_the_scope_hides_nothing() {
        let near = near(&[("10.0.0.0/8 2001:db8::/32", "wide"), ("10.1.0.0/16", "deep"), ("192.0.2.0/24", "far")]);
        let of = |network: &str| answer(&named(network, "10.1.2.3").unwrap(), &near);
        assert_eq!(of("10.1.9.0/24"), ("deep", 16));
        assert_eq!(of("10.200.0.0/24"), ("wide", 9), "as far as the deeper network branches off");
        assert_eq!(of("10.0.0.0/24"), ("wide", 16));
        assert_eq!(of("10.0.0.0/8"), ("wide", 16), "too wide to be sure, which a longer scope says");
        assert_eq!(of("192.0.2.77/32"), ("far", 24));
        assert_eq!(of("11.0.0.0/24"), ("nobody", 8));
        assert_eq!(of("128.0.0.0/24"), ("nobody", 2));
        assert_eq!(of("2001:db8:7::/48"), ("wide", 32));
        assert_eq!(of("2001:db9::/48"), ("nobody", 32));
        assert_eq!(of("0.0.0.0/0"), ("deep", 0), "nobody is named: whoever asks");
        let unnamed = Asker::new(None, "::ffff:10.1.2.3".parse().unwrap()).unwrap();
        assert_eq!(answer(&unnamed, &near).0, "deep");
        assert_eq!(unnamed.option(7), None);
    }

    #[test]
    fn a_network_with_bits_behind_its_length_is_malformed() {
        for wrong in ["10.0.0.1/24", "10.0.0.0/33", "2001:db8::1/64"] {
            let (address, length) = wrong.split_once('/').unwrap();
            let mut edns = Edns::new();
            let subnet = ClientSubnet::new(address.parse().unwrap(), length.parse().unwrap(), 0);
            edns.options_mut().insert(EdnsOption::Subnet(subnet));
            assert_eq!(Asker::new(Some(&edns), address.parse().unwrap()).unwrap_err(), Malformed, "{wrong}");
        }
        let mut edns = Edns::new();
        edns.options_mut().insert(EdnsOption::Subnet(ClientSubnet::new([10, 0, 0, 0].into(), 8, 8)));
        assert!(Asker::new(Some(&edns), [10, 0, 0, 0].into()).is_err(), "a scope in a question");
    }

    proptest! {
        /// What a cache does with the scope: it gives everybody inside the same answer.
        #[test]
        fn everybody_within_the_scope_gets_the_same_answer(
            networks in proptest::collection::vec((any::<u32>(), 0u8..=32), 1..12),
            client in any::<u32>(),
            neighbour in any::<u32>(),
            spread in 0u32..33,
        ) {
            // Networks near to the client, or none of them would ever matter.
            let mask = |length: u8| u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            let entries: Vec<NearEntry> = networks
                .iter()
                .enumerate()
                .map(|(nth, (bits, length))| {
                    let ip = (client ^ bits.checked_shr(spread).unwrap_or(0)) & mask(*length);
                    let network = format!("{}/{length}", std::net::Ipv4Addr::from(ip));
                    NearEntry { clients: vec![network.parse().unwrap()], targets: vec![nth.to_string()] }
                })
                .collect();
            let asker = |ip: u32| Asker::new(None, IpAddr::from(ip.to_be_bytes())).unwrap();
            let (found, scope) = asker(client).nearest(&entries);
            let inside = (client & mask(scope)) | (neighbour & !mask(scope));
            let length = |it: Option<&NearEntry>| it.map(|it| it.clients[0]);
            prop_assert_eq!(length(asker(inside).nearest(&entries).0), length(found));
        }
    }
}
