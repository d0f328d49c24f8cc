#![no_main]
//! The target `stored` under libFuzzer.

use std::sync::LazyLock;

static TARGET: LazyLock<mesh_fuzz::Target> = LazyLock::new(|| mesh_fuzz::target("stored"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.run)(data));
