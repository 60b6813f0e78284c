//! Why somebody is not believed.

use std::error::Error;

use jiff::Timestamp;
use rustls::{AlertDescription, CertificateError};

use super::peer::{Role, Serial};

/// Why a certificate, a token or a request was refused. Its sentence says what to do, and is fit for a journal: it holds
/// nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No certificate was shown where one is needed.
    #[error("it shows no certificate: join the host with `mainstay enroll join`")]
    NoCertificate,
    /// Signed by somebody whom we do not know.
    #[error(
        "the certificate of {claimed} was not signed by an authority that is trusted here: join it to this site with a new token"
    )]
    AnotherAuthority {
        /// Who it says that it is.
        claimed: String,
    },
    /// Not a certificate that Mainstay made.
    #[error("the certificate is none of Mainstay's: {what}")]
    Foreign {
        /// What is wrong with it.
        what: String,
    },
    /// No longer valid.
    #[error(
        "the certificate of {claimed} was valid until {until}, and the clock here says {now}: if that clock is right, join \
         again with a new token; if not, set it"
    )]
    Expired {
        /// Who it says that it is.
        claimed: String,
        /// When it ended.
        until: Timestamp,
        /// The clock of whoever refuses.
        now: Timestamp,
    },
    /// Not valid yet: one of two clocks is wrong.
    #[error(
        "the certificate of {claimed} is valid from {from} by the clock of the agent that signed it, and the clock here says {now}: \
         set the one that is wrong"
    )]
    NotYetValid {
        /// Who it says that it is.
        claimed: String,
        /// When it begins.
        from: Timestamp,
        /// The clock of whoever refuses.
        now: Timestamp,
    },
    /// Taken back by a person.
    #[error("the certificate {serial} of {claimed} was revoked at {at}: if it may come back, join it with a new token")]
    Revoked {
        /// Whose it is.
        claimed: String,
        /// Which certificate.
        serial: Serial,
        /// When it was taken back.
        at: Timestamp,
    },
    /// A host where an agent is wanted, or the other way round.
    #[error("{claimed} is no {wanted}")]
    WrongRole {
        /// Who it is.
        claimed: String,
        /// What is wanted there.
        wanted: Role,
    },
    /// Of another site.
    #[error("{claimed} is not of site {wanted}")]
    WrongSite {
        /// Who it is.
        claimed: String,
        /// The site that is wanted.
        wanted: String,
    },
    /// It asks in the name of another one.
    #[error("{claimed} asks for a certificate of {asked}: a host can only act for itself")]
    WrongName {
        /// Who it is.
        claimed: String,
        /// For whom it asks.
        asked: String,
    },
    /// Another host than the one that is wanted there.
    #[error("{claimed} answers there, and host {wanted} is wanted: see whether the address is right")]
    AnotherHost {
        /// Who it is.
        claimed: String,
        /// The host that is wanted.
        wanted: String,
    },
    /// It has more certificates than it could need.
    #[error("{claimed} has {most} certificates that have not ended: it gets another one when one of them has")]
    TooMany {
        /// Who asks.
        claimed: String,
        /// How many it may have.
        most: usize,
    },
    /// A token that this agent did not make, or that was taken back.
    #[error(
        "this agent made no such token, or took it back: make one on the machine of this agent, with `mainstay enroll token`"
    )]
    TokenUnknown,
    /// A token that somebody has used.
    #[error(
        "the token for host {host} was used at {at}: make a new one; if it was not this host that used it, run `mainstay enroll \
         revoke {host}` first"
    )]
    TokenUsed {
        /// The host that it was made for.
        host: String,
        /// When it was used.
        at: Timestamp,
    },
    /// A token that has ended.
    #[error("the token for host {host} was valid until {until}, and the agent's clock says {now}: make a new one")]
    TokenExpired {
        /// The host that it was made for.
        host: String,
        /// When it ended.
        until: Timestamp,
        /// The agent's clock.
        now: Timestamp,
    },
    /// Who answers is not the agent that made the token.
    #[error(
        "{claimed} answers there, and its authority is not the one that made the token for site {wanted}: see whether the \
         address is right, and whether the authority was made anew since"
    )]
    TokenOfAnotherAuthority {
        /// Who answers, as it says.
        claimed: String,
        /// The token's site.
        wanted: String,
    },
    /// Nothing that could be answered.
    #[error("the request can't be understood: {what}")]
    Garbled {
        /// What is wrong with it.
        what: String,
    },
    /// Refused for a date, and both clocks are known.
    #[error("{why}. The agent's clock says {there}, the clock here {here}: {}", apart(*.there, *.here))]
    Clocks {
        /// The refusal.
        why: Box<Refusal>,
        /// The agent's clock.
        there: Timestamp,
        /// The clock of this machine.
        here: Timestamp,
    },
    /// The end that we speak to does not hold the key of the certificate that it shows.
    #[error("{claimed} did not prove that it holds the key of its certificate")]
    NoProof {
        /// Who it says that it is.
        claimed: String,
    },
    /// The other end refused us, and its alert says no more than this.
    #[error("the other end refuses this one: {}", alert(*.0))]
    ByPeer(AlertDescription),
    /// What we keep about hosts can't be read, so nobody can be told from one who was revoked.
    #[error("what is kept about {claimed} can't be read, so it can't be known whether it was revoked: {what}")]
    Unreadable {
        /// Who asks.
        claimed: String,
        /// Why it can't be read.
        what: String,
    },
    /// No handshake came about: the wire was cut, or it is no TLS.
    #[error("no handshake came about: {what}")]
    Handshake {
        /// What went wrong.
        what: String,
    },
}

impl Refusal {
    /// A word for programs, which stays the same.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NoCertificate => "no_certificate",
            Refusal::AnotherAuthority { .. } => "another_authority",
            Refusal::Foreign { .. } => "foreign_certificate",
            Refusal::Expired { .. } => "expired",
            Refusal::NotYetValid { .. } => "not_yet_valid",
            Refusal::Revoked { .. } => "revoked",
            Refusal::WrongRole { .. } => "wrong_role",
            Refusal::WrongSite { .. } => "wrong_site",
            Refusal::WrongName { .. } => "wrong_name",
            Refusal::AnotherHost { .. } => "another_host",
            Refusal::TooMany { .. } => "too_many",
            Refusal::TokenUnknown => "token_unknown",
            Refusal::TokenUsed { .. } => "token_used",
            Refusal::TokenExpired { .. } => "token_expired",
            Refusal::TokenOfAnotherAuthority { .. } => "token_of_another_authority",
            Refusal::Garbled { .. } => "garbled",
            Refusal::Clocks { why, .. } => why.code(),
            Refusal::NoProof { .. } => "no_proof",
            Refusal::ByPeer(_) => "refused_by_peer",
            Refusal::Unreadable { .. } => "unreadable",
            Refusal::Handshake { .. } => "no_handshake",
        }
    }

    /// The refusal that an error of a connection stands for, if it does: TLS 1.3 tells a client of it with the first bytes
    /// that it reads, not with the handshake.
    pub fn within(error: &(dyn Error + 'static)) -> Option<Refusal> {
        let mut next = Some(error);
        while let Some(error) = next {
            // An I/O error's own error is not its source.
            let inner = error.downcast_ref::<std::io::Error>().and_then(|it| it.get_ref());
            let inner = inner.map(|it| it as &(dyn Error + 'static));
            for error in [Some(error), inner].into_iter().flatten() {
                if let Some(rustls::Error::AlertReceived(alert)) = error.downcast_ref::<rustls::Error>() {
                    return is_refusal(*alert).then_some(Refusal::ByPeer(*alert));
                }
            }
            next = inner.or_else(|| error.source());
        }
        None
    }

    /// The innermost cause of an error, which says most.
    pub(super) fn deepest(error: &(dyn Error + 'static)) -> String {
        error.source().map_or_else(|| error.to_string(), Refusal::deepest)
    }

    /// What TLS tells the other end.
    pub(super) fn alert(&self) -> CertificateError {
        match self {
            Refusal::NoCertificate
            | Refusal::Foreign { .. }
            | Refusal::TokenUnknown
            | Refusal::TokenUsed { .. }
            | Refusal::TokenExpired { .. }
            | Refusal::Garbled { .. }
            | Refusal::ByPeer(_)
            | Refusal::Handshake { .. } => CertificateError::BadEncoding,
            Refusal::Clocks { why, .. } => why.alert(),
            Refusal::AnotherAuthority { .. } | Refusal::TokenOfAnotherAuthority { .. } => {
                CertificateError::UnknownIssuer
            }
            Refusal::Expired { .. } => CertificateError::Expired,
            Refusal::NotYetValid { .. } => CertificateError::NotValidYet,
            Refusal::Revoked { .. } => CertificateError::Revoked,
            Refusal::WrongRole { .. } => CertificateError::InvalidPurpose,
            Refusal::WrongSite { .. }
            | Refusal::WrongName { .. }
            | Refusal::AnotherHost { .. }
            | Refusal::TooMany { .. }
            | Refusal::Unreadable { .. } => CertificateError::ApplicationVerificationFailure,
            Refusal::NoProof { .. } => CertificateError::BadSignature,
        }
    }
}

fn apart(there: Timestamp, here: Timestamp) -> String {
    match there.as_second().abs_diff(here.as_second()) {
        0..=5 => "they agree".to_owned(),
        seconds => format!("they are {seconds} s apart, set the one that is wrong"),
    }
}

fn is_refusal(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
            | AlertDescription::CertificateRequired
    )
}

#[expect(clippy::wildcard_enum_match_arm, reason = "most alerts of TLS are about no certificate")]
fn alert(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::CertificateRevoked => "its certificate was revoked",
        AlertDescription::CertificateExpired => "by the clock there its certificate is not valid yet, or no longer",
        AlertDescription::UnknownCA => "the authority that signed its certificate is not trusted there",
        AlertDescription::UnsupportedCertificate => "its certificate is for another role",
        AlertDescription::AccessDenied => "its certificate is for another site or another name",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "its certificate is none of Mainstay's"
        }
        AlertDescription::DecryptError => "it could not prove that it holds the key of its certificate",
        AlertDescription::CertificateRequired => "it shows no certificate",
        other => return format!("TLS says {other:?}"),
    };
    text.to_owned()
}
