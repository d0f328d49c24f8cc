//! What every backend must do, run against each of them.
