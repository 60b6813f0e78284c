//! Where things are, and what fails together.

use std::fmt;

/// Region and zone of an instance, a witness or the agent itself. On one's own hosts a region is a site and a zone a room
/// or a rack: whatever loses power and network together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// For example `us-east-1` or `berlin`.
    pub region: String,
    /// For example `us-east-1a` or `hall-2`; `None` for something that lives in the region as a whole.
    pub zone: Option<String>,
    /// The machine, where the plan names one.
    pub host: Option<String>,
}

/// A set of things that one failure takes down together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureDomain {
    /// The one instance (a process, a virtual machine).
    Instance,
    /// Everything on the same machine.
    Host,
    /// Everything in the same zone.
    Zone,
    /// Everything in the same region.
    Region,
}

impl FailureDomain {
    /// All of them, from the smallest to the largest.
    pub const ALL: [FailureDomain; 4] =
        [FailureDomain::Instance, FailureDomain::Host, FailureDomain::Zone, FailureDomain::Region];

    /// The word for it in YAML, in the journal and on the screen.
    pub const fn word(self) -> &'static str {
        match self {
            FailureDomain::Instance => "instance",
            FailureDomain::Host => "host",
            FailureDomain::Zone => "zone",
            FailureDomain::Region => "region",
        }
    }
}

impl Location {
    /// Whether the loss of `domain` around `self` also takes `other` down. An instance shares its instance domain with
    /// nothing else. What is not stated counts as shared: a host or zone that is not named may be the same one.
    pub fn shares(&self, other: &Location, domain: FailureDomain) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
        match domain {
            FailureDomain::Instance => false,
            FailureDomain::Host => {
                self.host.is_some()
                    && self.host == other.host
                    && self.region == other.region
                    && same(&self.zone, &other.zone)
            }
            FailureDomain::Zone => self.region == other.region && same(&self.zone, &other.zone),
            FailureDomain::Region => self.region == other.region,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.region)?;
        if let Some(zone) = &self.zone {
            write!(f, "/{zone}")?;
        }
        if let Some(host) = &self.host {
            write!(f, "/{host}")?;
        }
        Ok(())
    }
}

/// Something beside its location that an instance lives on. Instances that name the same thing fail together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedPart {
    /// What sort of thing.
    pub kind: SharedKind,
    /// Its name, the owner's own.
    pub name: String,
}

/// The sorts of thing that instances share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SharedKind {
    /// `key`: an encryption key or a certificate.
    Key,
    /// `network`: a switch, a link, a gateway.
    Network,
    /// `dns`: a name server.
    Dns,
    /// `power`: a feed.
    Power,
    /// `storage`: a volume, a storage array.
    Storage,
}

impl SharedKind {
    /// All of them.
    pub const ALL: [SharedKind; 5] =
        [SharedKind::Key, SharedKind::Network, SharedKind::Dns, SharedKind::Power, SharedKind::Storage];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            SharedKind::Key => "key",
            SharedKind::Network => "network",
            SharedKind::Dns => "dns",
            SharedKind::Power => "power",
            SharedKind::Storage => "storage",
        }
    }
}
