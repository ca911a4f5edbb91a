//! Any request to any provider's webhook is cut and read, and what is read is sane.
#![no_main]

use libfuzzer_sys::fuzz_target;
use suppressd::provider::Ask;
use suppressd_fuzz::{Request, cut_and_read};

fuzz_target!(|data: &[u8]| {
    let request = Request::of(data);
    let sent = request.notification();
    if let Some(Ask::Confirm(url)) = request.provider.asks(&sent) {
        assert_eq!(url.scheme(), "https", "a confirmation goes to the service alone");
        let host = url.host_str().expect("a host");
        let ours = [".amazonaws.com", ".amazonaws.com.cn", ".scaleway.com"];
        assert!(ours.iter().any(|end| host.ends_with(end)), "a confirmation by {host}");
    }
    request.provider.is_probe(&sent);
    request.provider.once(&sent);
    cut_and_read(request.provider, &sent);
});
