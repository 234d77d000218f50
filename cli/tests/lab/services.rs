//! The service comes and goes; the tunnel stays.

use std::io::Read;

use natlab::Side;

use crate::{
    ground::{Ground, LOCAL_PORT, between},
    page::{WEB_PORT, Web, fetch, fetch_page},
};

#[test]
fn a_service_may_start_late_and_restart_while_the_tunnel_stays() {
    let test = "a_service_may_start_late_and_restart_while_the_tunnel_stays";
    let Some(ground) = Ground::or_skip(test, between("home", "home")) else { return };
    let (mut serve, mut open) = ground.connect(WEB_PORT);

    for _ in 0..2 {
        let mut tcp = ground.dial(Side::B, LOCAL_PORT).expect("the local port accepts");
        let error = tcp.read(&mut [0]).expect_err("there is no service");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        let fetched = fetch(&ground);
        assert!(fetched.page.is_empty() && !fetched.error.is_empty(), "a browser sees an error");
        let refused = serve.says("service localhost:8000");
        assert!(refused.contains("refused"), "{refused}");
        open.says("service");

        let _web = Web::start(&ground);
        fetch_page(&ground);
        serve.says("answers again");
    }

    for ended in [open.interrupt(), serve.interrupt()] {
        assert_eq!(ended.code, Some(0));
        assert_eq!(ended.stderr.matches("tunnel up").count(), 1, "{}", ended.stderr);
    }
}
