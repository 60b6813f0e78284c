//! A TLS handshake, and how long the certificate is valid.

use mainstay_plan::observation::{Answer, Concerns};
use mainstay_plan::probe::TlsProbe;
use tokio::time::Instant;

use crate::so_far::SoFar;
use crate::tls::{self, Spoken};
use crate::{Inner, ProbeAnswer, dial, trouble};

pub(super) async fn ask(
    inner: &Inner,
    probe: &TlsProbe,
    deadline: Instant,
    so_far: &SoFar<Answer>,
) -> Result<ProbeAnswer, Answer> {
    let ours = |text: String| Answer::CouldNotAsk(trouble::clip(&text));
    let name = tls::server_name(&probe.name).map_err(ours)?;
    so_far.set(ours("reading the trusted certificates took too long".to_owned()));
    let trust = inner.tls.get(&inner.gates, probe.ca_file.as_deref(), Spoken::Unnamed).await.map_err(ours)?;
    let stream = dial::connect(&inner.names, &probe.address, deadline, so_far).await?;
    let stream = tls::handshake(trust.config.clone(), name.clone(), stream).await?;
    let expiring = probe.expires_after.and_then(|it| trust.expiring(&stream, &name, it));
    Ok(ProbeAnswer { concerns: Concerns { expiring, ..Concerns::default() }, ..Answer::Good.into() })
}
