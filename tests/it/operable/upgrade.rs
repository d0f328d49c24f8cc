//! A newer version takes over in place.
