//! Who is at the other end of a connection, and how it is known.
//!
//! The agent of a site holds a small certificate authority. A person makes a one-time token for a host; the host makes a
//! key that never leaves it, shows the token, and gets a certificate that says which host of which site it is. From then
//! on both ends of each connection show a certificate, and each end checks the other's site, role and name, not only who
//! signed. A certificate renews itself long before it ends.
//!
//! - [`Authority`] is the agent's side: it makes tokens, signs, revokes.
//! - [`Identity`] is what one end shows: its key, its certificate, and whom it trusts. It can be replaced while it is used.
//! - [`Gate`] takes connections on the agent's side; [`Identity::connect`] makes them on a host.
//! - [`join`] gets a host its first certificate, [`Identity::renew`] the next ones; the agent gives them in [`answer`].
//! - [`Refusal`] is why somebody is not believed: a sentence for people, a word for programs.
//!
//! Nothing here keeps a connection open or says what travels on it.

mod asking;
mod authority;
mod files;
mod gate;
mod identity;
mod joining;
mod live;
mod office;
mod peer;
mod refusal;
mod register;
mod rotation;
mod tls;
mod token;
mod wall;

pub use asking::{AskError, join};
pub use authority::{Authority, AuthorityError, Created, Revoked, SignError, Terms};
pub use files::FileError;
pub use gate::Gate;
pub use identity::Identity;
pub use joining::{Joining, Signed};
pub use office::{Answer, CLOCK, ENROLL, Event, RENEW, answer, answer_to, is_for_office};
pub use peer::{Peer, Role, Serial};
pub use refusal::Refusal;
pub use register::{Enrolled, Given, Register};
pub use rotation::{RotateError, Rotation};
pub use token::{Invited, Token, TokenError};
pub use wall::Wall;
