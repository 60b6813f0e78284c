//! A datagram, and whether the first one that comes back is as expected.

use mainstay_plan::observation::Answer;
use mainstay_plan::probe::UdpProbe;

use crate::dial;
use crate::so_far::SoFar;
use crate::{Inner, source, trouble};

/// As long as a datagram can be.
const MAX_DATAGRAM: usize = 65_535;

pub(super) async fn ask(inner: &Inner, probe: &UdpProbe, so_far: &SoFar<Answer>) -> Result<Answer, Answer> {
    let addresses = dial::resolve(&inner.names, &probe.address, so_far).await?;
    so_far.set(Answer::TimedOut);
    let Some(target) = addresses.iter().find(|it| source::reaches(**it)).or(addresses.first()) else {
        return Err(Answer::CouldNotAsk("no address to ask".to_owned()));
    };
    // It is connected: nobody else's datagrams are taken, and "nobody listens" is told.
    let socket = source::udp(*target).await.map_err(|error| dial::refusal(*target, &error))?;
    let failed = |error| trouble::answer(&format!("asking {target}"), &error);
    socket.send(&probe.send.0).await.map_err(failed)?;
    let mut answer = vec![0; MAX_DATAGRAM];
    let length = socket.recv(&mut answer).await.map_err(failed)?;
    let got = answer.get(..length).unwrap_or_default();
    Ok(match &probe.expect {
        Some(expected) if !contains(got, expected) => {
            Answer::Wrong(format!("{target} answered {length} bytes, without what is expected"))
        }
        Some(_) | None => Answer::Good,
    })
}

fn contains(got: &[u8], expected: &[u8]) -> bool {
    expected.is_empty() || got.windows(expected.len()).any(|it| it == expected)
}
