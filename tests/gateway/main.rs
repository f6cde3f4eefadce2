//! The gateway from outside: the real binary, real sockets, exact bytes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "this whole crate is a test: what fails here is to fail loudly"
)]

#[path = "../support/mod.rs"]
mod support;

mod access_log;
mod assertions;
mod attacks;
mod bearer_answers;
mod bearer_bound;
mod bearer_introspection;
mod bearer_scene;
mod bearer_tokens;
mod class_12_claims_in_headers;
mod class_17_open_when_a_session_ends;
mod class_18_fail_closed;
mod class_19_open_redirect;
mod class_22_login_csrf;
mod class_23_session_fixation;
mod class_24_cookie_tossing;
mod class_25_cookie_bomb;
mod class_26_cookie_seals;
mod class_27_logout_completeness;
mod class_28_backchannel_logout;
mod class_29_own_pages;
mod class_32_csrf;
mod class_33_cors;
mod class_35_session_lifetime;
mod class_37_email_domain;
mod class_39_subjects;
mod class_41_algorithms;
mod class_42_keys_in_tokens;
mod class_43_key_ids;
mod class_45_token_text;
mod class_50_token_leakage;
mod class_51_log_injection;
mod class_52_inside_addresses;
mod class_53_provider_answers;
mod class_54_moved_endpoints;
mod class_57_fuzzed_endpoints;
mod command_line;
mod configs;
mod conformance_basic;
mod conformance_config;
mod conformance_logout;
mod explain;
mod graceful_stop;
mod identity_presets;
mod limits;
mod listeners;
mod overload;
mod path_of_the_person;
mod peers_oauth2_proxy;
mod provider_outage;
mod provider_settings;
mod refresh;
mod refresh_faults;
mod refresh_now;
mod refresh_scene;
mod rules;
mod scene;
mod session_keys;
mod sign_in;
mod sign_ins;
mod sign_out;
mod signed_out;
mod step_up;
mod supports;
mod tls;
mod upstream_faults;
mod upstream_files;
mod upstream_paths;
mod upstream_tls;
mod upstream_tokens;
mod upstreams;
