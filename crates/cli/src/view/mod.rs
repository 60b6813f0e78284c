//! What is shown of the agent's answers and of the journal. Pure: text from values, for a given look.

pub(crate) mod evacuation;
pub(crate) mod explanation;
pub(crate) mod hosts;
pub(crate) mod notice;
pub(crate) mod probes;
pub(crate) mod recovery;
pub(crate) mod status;
pub(crate) mod walkthrough;
