#![no_main]
//! The target `config` under libFuzzer.

use std::sync::LazyLock;

static TARGET: LazyLock<mesh_fuzz::Target> = LazyLock::new(|| mesh_fuzz::target("config"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.run)(data));
