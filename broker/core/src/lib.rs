//! broker/core
