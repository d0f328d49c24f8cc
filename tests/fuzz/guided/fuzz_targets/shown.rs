#![no_main]
//! The target `shown` under libFuzzer.

use std::sync::LazyLock;

static TARGET: LazyLock<mesh_fuzz::Target> = LazyLock::new(|| mesh_fuzz::target("shown"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.run)(data));
