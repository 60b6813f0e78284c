//! The certificate authority of one site, in the agent's state directory.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::Semaphore;

use super::files::{self, FileError};
use super::gate::Gate;
use super::identity::{Identity, text};
use super::joining::Signed;
use super::live::Live;
use super::office::{check_name, read_request};
use super::peer::{Peer, Role, Serial, is_name, uri, validity};
use super::refusal::Refusal;
use super::register::{Given, Register};
use super::tls;
use super::token::{Fingerprint, Invited, REMEMBERED, Secret, Token, Tokens};
use super::wall::{Wall, after, before};

pub(super) const AUTHORITY: &str = "authority.pem";
const AGENT: &str = "agent.pem";
/// A host that has so many certificates that have not ended gets no more.
const MOST: usize = 64;

/// For how long certificates are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// A host's and an agent's.
    pub certificate: Duration,
    /// The authority's own.
    pub authority: Duration,
    /// How far back they begin, for clocks that are behind.
    pub backdated: Duration,
}

impl Default for Terms {
    /// 30 days, ten years, an hour.
    fn default() -> Terms {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Terms { certificate: 30 * DAY, authority: 3650 * DAY, backdated: DAY / 24 }
    }
}

/// Why an authority can't do what it is asked to.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// One of its files can't be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A name that no plan could have.
    #[error("`{0}` is no name for a site or a host: letters, digits, `-`, `_` and `.`, at most 63")]
    Name(String),
    /// An address that no certificate can hold.
    #[error("`{0}` is no address")]
    Address(String),
    /// The directory belongs to the authority of another site.
    #[error("{} holds the authority of site {found}, not of {wanted}: give this site a state directory of its own", path.display())]
    AnotherSite {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// No key, no signature.
    #[error("a key or a certificate can't be made")]
    Crypto(#[from] rcgen::Error),
}

/// Whether [`Authority::create`] had to make anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// A new authority.
    Authority,
    /// The agent's certificate alone: it was missing, about to end, or for other addresses.
    Certificate,
    /// Nothing.
    Nothing,
}

/// What [`Authority::revoke`] took back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// How many certificates.
    pub certificates: usize,
    /// How many tokens.
    pub tokens: usize,
}

/// Signs for one site. Several processes may open it at the same time.
#[derive(Debug)]
pub struct Authority {
    pki: PathBuf,
    site: String,
    terms: Terms,
    wall: Wall,
    keys: Live<Keys>,
    register: Arc<Register>,
    tokens: Tokens,
    turns: Semaphore,
}

/// How many requests are worked on at once: they wait for one disk, and the threads that wait for it are those of the whole agent.
const AT_ONCE: usize = 2;

/// What signs, and what is trusted beside it.
#[derive(Debug)]
pub(super) struct Keys {
    issuer: Issuer<'static, KeyPair>,
    /// The first signs.
    pub(super) trusted: Vec<CertificateDer<'static>>,
    /// Of the first.
    pub(super) fingerprint: Fingerprint,
    /// When the first begins, and ends.
    pub(super) from: Timestamp,
    until: Timestamp,
}

impl Keys {
    pub(super) fn read(path: &Path) -> Result<Keys, FileError> {
        let text = files::read_private(path)?;
        let damaged = |what: &str| FileError::damaged(path, what);
        let key = KeyPair::from_pem(&text).map_err(|_| damaged("it holds no private key"))?;
        let trusted: Vec<CertificateDer<'static>> = (CertificateDer::pem_slice_iter(text.as_bytes()))
            .collect::<Result<_, _>>()
            .map_err(|it| FileError::damaged(path, it))?;
        let first = trusted.first().ok_or_else(|| damaged("it holds no certificate"))?;
        let fingerprint = Fingerprint::of(first);
        let (from, until) = validity(first).map_err(damaged)?;
        let issuer = Issuer::from_ca_cert_der(first, key).map_err(|it| FileError::damaged(path, it))?;
        Ok(Keys { issuer, trusted, fingerprint, from, until })
    }

    /// The text of an authority's file, with this key.
    pub(super) fn text(&self, trusted: &[CertificateDer<'static>]) -> String {
        text(&self.issuer.key().serialize_pem(), &as_pem(trusted), "")
    }
}

impl Authority {
    /// Makes an authority and the agent's certificate in `pki` below a state directory, where they are missing.
    ///
    /// `addresses` are names or IP addresses under which hosts reach the agent; they stand in its certificate for other
    /// people's tools, and hosts don't ask for them.
    pub fn create(
        state: &Path,
        site: &str,
        addresses: &[String],
        terms: Terms,
        wall: &Wall,
    ) -> Result<(Authority, Created), AuthorityError> {
        if !is_name(site) {
            return Err(AuthorityError::Name(site.to_owned()));
        }
        let pki = pki(state);
        files::make_private(&pki)?;
        let alone = files::lock(&pki)?;
        let is_new = !pki.join(AUTHORITY).exists();
        if is_new {
            // The agent's certificate is made after the authority's: somebody has lost the authority.
            if pki.join(AGENT).exists() {
                return Err(FileError::Missing { path: pki.join(AUTHORITY) }.into());
            }
            make(&pki.join(AUTHORITY), site, terms, wall)?;
        }
        let authority = Authority::read(pki.clone(), site, terms, wall)?;
        let is_due = match Identity::load(&pki.join(AGENT), wall) {
            Ok(identity) if identity.me().site != site => {
                return Err(AuthorityError::AnotherSite {
                    path: pki,
                    found: identity.me().site,
                    wanted: site.to_owned(),
                });
            }
            Ok(identity) => identity.is_due() || !same(&identity.addresses()?, addresses),
            Err(FileError::Missing { .. }) => true,
            Err(error) => return Err(error.into()),
        };
        if is_due {
            authority.sign_agent(addresses)?;
        }
        drop(alone);
        let created = match (is_new, is_due) {
            (true, _) => Created::Authority,
            (false, true) => Created::Certificate,
            (false, false) => Created::Nothing,
        };
        Ok((authority, created))
    }

    /// Opens the authority of a state directory, as [`Authority::create`] made it.
    pub fn open(state: &Path, terms: Terms, wall: &Wall) -> Result<Authority, AuthorityError> {
        let pki = pki(state);
        files::check_private(&pki)?;
        let site = Identity::load(&pki.join(AGENT), wall)?.me().site;
        Authority::read(pki, &site, terms, wall)
    }

    fn read(pki: PathBuf, site: &str, terms: Terms, wall: &Wall) -> Result<Authority, AuthorityError> {
        Ok(Authority {
            keys: Live::open(&pki.join(AUTHORITY), Keys::read)?,
            register: Arc::new(Register::open(&pki)?),
            tokens: Tokens::open(&pki)?,
            turns: Semaphore::new(AT_ONCE),
            site: site.to_owned(),
            wall: wall.clone(),
            pki,
            terms,
        })
    }

    pub(super) fn pki(&self) -> &Path {
        &self.pki
    }

    pub(super) fn terms(&self) -> Terms {
        self.terms
    }

    pub(super) fn wall(&self) -> &Wall {
        &self.wall
    }

    pub(super) fn turns(&self) -> &Semaphore {
        &self.turns
    }

    pub(super) fn keys(&self) -> Arc<Keys> {
        self.keys.newest()
    }

    /// The site that it signs for.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// When its own certificate ends.
    pub fn until(&self) -> Timestamp {
        self.keys().until
    }

    /// What is known of the hosts.
    pub fn register(&self) -> &Register {
        &self.register
    }

    /// What takes the connections of hosts.
    pub fn gate(&self) -> Result<Gate, FileError> {
        let identity = Identity::load(&self.pki.join(AGENT), &self.wall)?;
        Ok(Gate::new(identity, Arc::clone(&self.register)))
    }

    /// The time by which it judges.
    pub fn now(&self) -> Timestamp {
        self.wall.now()
    }

    /// Makes a token with which `host` may join once, from now on and for as long as `valid`, at most 30 days. What is kept of it does not
    /// suffice to join.
    pub fn invite(&self, host: &str, valid: Duration) -> Result<(Token, Invited), AuthorityError> {
        if !is_name(host) {
            return Err(AuthorityError::Name(host.to_owned()));
        }
        let secret = random();
        let now = self.wall.now();
        let invited =
            Invited { host: host.to_owned(), made: now, until: after(now, valid.min(REMEMBERED)), used: None };
        self.tokens.add(&secret, &invited)?;
        Ok((Token::new(self.keys().fingerprint, secret, &self.site, host), invited))
    }

    /// The tokens that are remembered, the oldest first.
    pub fn invited(&self) -> Result<Vec<Invited>, FileError> {
        self.tokens.all()
    }

    /// Signs for who shows the secret of a token, once.
    pub(super) fn enroll(&self, secret: &Secret, request: &str) -> Result<(String, Signed, Timestamp), SignError> {
        let _alone = files::lock(&self.pki).map_err(AuthorityError::from)?;
        let now = self.wall.now();
        // A request that can't be signed uses up no token.
        let invited = self.tokens.look(secret, now).map_err(AuthorityError::from)??;
        check_name(&self.site, &invited.host, request)?;
        let Invited { host, .. } = self.tokens.burn(secret, now).map_err(AuthorityError::from)??;
        let (signed, until) = self.sign_host(&host, request)?;
        Ok((host, signed, until))
    }

    /// Signs the next certificate for a host that shows one.
    pub(super) fn renew(&self, peer: &Peer, request: &str) -> Result<(Signed, Timestamp), SignError> {
        check_name(&self.site, &peer.name, request)?;
        let _alone = files::lock(&self.pki).map_err(AuthorityError::from)?;
        // It may have been revoked since it connected.
        self.register.check(peer)?;
        if self.register.live(&peer.name, self.now()) >= MOST {
            return Err(Refusal::TooMany { claimed: peer.to_string(), most: MOST }.into());
        }
        self.sign_host(&peer.name, request)
    }

    /// Signs for a host, whoever asks: it is for the caller to know that this is the host. The number is kept before the
    /// certificate is given away, so that it can be revoked. Gives its end, too.
    pub fn sign_host(&self, host: &str, request: &str) -> Result<(Signed, Timestamp), SignError> {
        if !is_name(host) {
            return Err(AuthorityError::Name(host.to_owned()).into());
        }
        let asked = read_request(request)?;
        let now = self.wall.now();
        let keys = self.keys();
        let mut params = self.leaf(&keys, Role::Host, host, now)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (serial, until) = (number(&mut params), self.end_of_one_made(&keys, now));
        let certificate = params.signed_by(&asked.public_key, &keys.issuer).map_err(AuthorityError::from)?.pem();
        let given = Given { serial, signed: now, until, by: Some(keys.fingerprint.to_string()), revoked: None };
        self.register.add(host, given, now).map_err(AuthorityError::from)?;
        Ok((Signed { certificate, authorities: as_pem(&keys.trusted) }, until))
    }

    /// Takes back every certificate of a host, and every token for it that was not used. Its open connections are closed by
    /// whoever waits for [`Gate::until_refused`].
    pub fn revoke(&self, host: &str) -> Result<Revoked, AuthorityError> {
        if !is_name(host) {
            return Err(AuthorityError::Name(host.to_owned()));
        }
        // Nobody gets a certificate in between.
        let _alone = files::lock(&self.pki)?;
        let tokens = self.tokens.revoke(host)?;
        Ok(Revoked { tokens, certificates: self.register.revoke(host, self.wall.now())? })
    }

    /// Gives the agent its next certificate when it is time, and has the gate show it; whether it was time. The agent asks every
    /// hour or so.
    pub fn renew_agent(&self, gate: &Gate) -> Result<bool, AuthorityError> {
        let identity = gate.identity();
        let _alone = files::lock(&self.pki)?;
        // The command line may have been first.
        identity.reload()?;
        let is_due = identity.is_due();
        if is_due {
            self.sign_agent(&identity.addresses()?)?;
            identity.reload()?;
        }
        Ok(is_due)
    }

    pub(super) fn sign_agent(&self, addresses: &[String]) -> Result<(), AuthorityError> {
        let now = self.wall.now();
        let keys = self.keys();
        let mut params = self.leaf(&keys, Role::Agent, &self.site, now)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for address in addresses {
            params.subject_alt_names.push(alternative(address)?);
        }
        number(&mut params);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &keys.issuer)?.pem();
        let text = text(&key.serialize_pem(), &certificate, &as_pem(&keys.trusted));
        Ok(files::write_secret(&self.pki.join(AGENT), &text)?)
    }

    fn leaf(&self, keys: &Keys, role: Role, name: &str, now: Timestamp) -> Result<CertificateParams, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Mainstay");
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::URI(uri(&self.site, role, name).try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, before(now, self.terms.backdated), self.end_of_one_made(keys, now));
        Ok(params)
    }

    /// No certificate outlives the authority's.
    fn end_of_one_made(&self, keys: &Keys, now: Timestamp) -> Timestamp {
        after(now, self.terms.certificate).min(keys.until)
    }
}

fn number(params: &mut CertificateParams) -> Serial {
    let mut bytes = random::<16>();
    // The first bit is a sign, and a number that begins with zeros has a second spelling.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&bytes));
    Serial::new(&bytes)
}

fn as_pem(certificates: &[CertificateDer<'static>]) -> String {
    let lines = EncodeConfig::new().set_line_ending(LineEnding::LF);
    certificates.iter().map(|it| pem::encode_config(&Pem::new("CERTIFICATE", it.to_vec()), lines)).collect()
}

/// Why a request was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// It is not to be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The authority can't.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

pub(super) fn pki(state: &Path) -> PathBuf {
    state.join("pki")
}

/// Bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    tls::provider().secure_random.fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// Writes the file of a new authority.
pub(super) fn make(path: &Path, site: &str, terms: Terms, wall: &Wall) -> Result<(), AuthorityError> {
    let key = KeyPair::generate()?;
    let now = wall.now();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Mainstay");
    // Two authorities of one site are told apart by it.
    params
        .distinguished_name
        .push(DnType::CommonName, format!("authority of site {site}, {}", Serial::new(&random::<4>())));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, before(now, terms.backdated), after(now, terms.authority));
    let certificate = params.self_signed(&key)?.pem();
    Ok(files::write_secret(path, &text(&key.serialize_pem(), &certificate, ""))?)
}

fn valid(params: &mut CertificateParams, from: Timestamp, until: Timestamp) {
    let date = |at: Timestamp| {
        let seconds = u64::try_from(at.as_second()).unwrap_or(0);
        date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    params.not_before = date(from);
    params.not_after = date(until);
}

/// In whatever order.
fn same(some: &[String], others: &[String]) -> bool {
    let all = |them: &[String]| them.iter().map(|it| it.trim_matches(['[', ']']).to_owned()).collect::<BTreeSet<_>>();
    all(some) == all(others)
}

fn alternative(address: &str) -> Result<SanType, AuthorityError> {
    if let Ok(ip) = address.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(SanType::IpAddress(ip));
    }
    let name = address.try_into().map_err(|_| AuthorityError::Address(address.to_owned()))?;
    Ok(SanType::DnsName(name))
}
