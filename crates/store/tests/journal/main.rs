//! The journal as its owner meets it: in a real directory, with real trouble.

mod fixture;
mod full_disk;
mod living;
mod opening;
mod tampering;
mod torn_tail;
mod waiting;
