//! The certificate authority of one site, in the agent's state directory.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};

use super::files::{self, FileError};
use super::gate::Gate;
use super::identity::{Identity, text};
use super::joining::Signed;
use super::peer::{Role, Serial, is_name, uri};
use super::refusal::Refusal;
use super::register::{Given, Register};
use super::tls;
use super::wall::{Wall, after, before};

const KEY: &str = "ca.key";
const CERTIFICATE: &str = "ca.pem";
const AGENT: &str = "agent.pem";

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

/// Signs for one site. Several processes may open it at the same time.
#[derive(Debug)]
pub struct Authority {
    pki: PathBuf,
    site: String,
    terms: Terms,
    wall: Wall,
    issuer: Issuer<'static, KeyPair>,
    /// As PEM.
    certificates: String,
    register: Arc<Register>,
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
        let is_new = !pki.join(CERTIFICATE).exists();
        if is_new {
            // The agent's certificate is made after the authority's: somebody has lost the authority.
            if pki.join(AGENT).exists() {
                return Err(FileError::Missing { path: pki.join(CERTIFICATE) }.into());
            }
            make(&pki, site, terms, wall)?;
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
            Ok(identity) => identity.is_due(),
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
        let path = pki.join(KEY);
        let key = KeyPair::from_pem(&files::read_private(&path)?).map_err(|it| FileError::damaged(&path, it))?;
        let path = pki.join(CERTIFICATE);
        let certificates = files::read(&path)?;
        let issuer = Issuer::from_ca_cert_pem(&certificates, key).map_err(|it| FileError::damaged(&path, it))?;
        let register = Arc::new(Register::open(&pki)?);
        Ok(Authority { pki, site: site.to_owned(), terms, wall: wall.clone(), issuer, certificates, register })
    }

    /// The site that it signs for.
    pub fn site(&self) -> &str {
        &self.site
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

    /// Signs for a host, whoever asks: it is for the caller to know that this is the host. The number is kept before the
    /// certificate is given away, so that it can be revoked.
    pub fn sign_host(&self, host: &str, request: &str) -> Result<Signed, SignError> {
        if !is_name(host) {
            return Err(AuthorityError::Name(host.to_owned()).into());
        }
        let asked = CertificateSigningRequestParams::from_pem(request)
            .map_err(|it| Refusal::Foreign { what: it.to_string() })?;
        let now = self.wall.now();
        let mut params = self.leaf(Role::Host, host, now)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (serial, until) = self.number(&mut params, now);
        let certificate = params.signed_by(&asked.public_key, &self.issuer).map_err(AuthorityError::from)?.pem();
        let given = Given { serial, signed: now, until, revoked: None };
        self.register.add(host, given, now).map_err(AuthorityError::from)?;
        Ok(Signed { certificate, authorities: self.certificates.clone() })
    }

    /// Takes back every certificate of a host; how many those were. Its open connections are closed by whoever waits for
    /// [`Gate::until_refused`].
    pub fn revoke(&self, host: &str) -> Result<usize, AuthorityError> {
        if !is_name(host) {
            return Err(AuthorityError::Name(host.to_owned()));
        }
        Ok(self.register.revoke(host, self.wall.now())?)
    }

    fn sign_agent(&self, addresses: &[String]) -> Result<(), AuthorityError> {
        let now = self.wall.now();
        let mut params = self.leaf(Role::Agent, &self.site, now)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for address in addresses {
            params.subject_alt_names.push(alternative(address)?);
        }
        self.number(&mut params, now);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        let text = text(&key.serialize_pem(), &certificate, &self.certificates);
        Ok(files::write_private(&self.pki.join(AGENT), &text)?)
    }

    fn leaf(&self, role: Role, name: &str, now: Timestamp) -> Result<CertificateParams, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Mainstay");
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::URI(uri(&self.site, role, name).try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, before(now, self.terms.backdated), after(now, self.terms.certificate));
        Ok(params)
    }

    fn number(&self, params: &mut CertificateParams, now: Timestamp) -> (Serial, Timestamp) {
        let mut bytes = random::<16>();
        // The first bit is a sign, and a number that begins with zeros has a second spelling.
        bytes[0] = bytes[0] & 0x7f | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&bytes));
        (Serial::new(&bytes), after(now, self.terms.certificate))
    }
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

/// The key is there before the certificate, which says that the authority is made.
fn make(pki: &Path, site: &str, terms: Terms, wall: &Wall) -> Result<(), AuthorityError> {
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
    files::write_private(&pki.join(KEY), &key.serialize_pem())?;
    Ok(files::write_private(&pki.join(CERTIFICATE), &certificate)?)
}

fn valid(params: &mut CertificateParams, from: Timestamp, until: Timestamp) {
    let date = |at: Timestamp| {
        let seconds = u64::try_from(at.as_second()).unwrap_or(0);
        date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    params.not_before = date(from);
    params.not_after = date(until);
}

fn alternative(address: &str) -> Result<SanType, AuthorityError> {
    if let Ok(ip) = address.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(SanType::IpAddress(ip));
    }
    let name = address.try_into().map_err(|_| AuthorityError::Address(address.to_owned()))?;
    Ok(SanType::DnsName(name))
}
