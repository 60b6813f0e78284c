//! What it takes to answer other machines over HTTP, whatever the answer is: clients are let in, some of them never take the
//! place of all others, and the certificate that they are shown is the newest good one.
//!
//! It decides nothing, and binds nothing. Of [`mainstay_plan`] it takes one noun, a certificate's files.

mod accept;
mod certificate;
mod foyer;
mod kept;
mod serve;
mod trouble;

pub use accept::{accept, insist};
pub use foyer::{Foyer, Guest};
pub use kept::{Keeper, Kept, Shown, of};
pub use serve::{Secured, serve};
pub use trouble::Trouble;
