//! Backups of a real PostgreSQL server: archived, taken, restored row by row, and what becomes of each when a disk is full, a file is changed or a
//! process is killed. The command line does it all; no agent runs.

mod broken;
mod bucket;
mod restored;
mod site;
