//! pinhole
