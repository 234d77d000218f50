//! What the serve side offers is known to the open side with each tunnel.

use pinhole::{
    Event, Role,
    forward::{self, ServeSpec},
    proto::stream::Reply,
};

use crate::rig::{event, free_port, listen, refusal, start, within};

fn spec(text: &str) -> ServeSpec {
    text.parse().expect("a spec")
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_told_when_they_are_offered_and_forgotten_with_the_tunnel() {
    let udp = free_port().await;
    let (serve, open) = (start(Role::Serve, udp).await, start(Role::Open, udp).await);
    let (mut events, local) = (open.events(), listen(&open));
    within(open.connected()).await.expect("a tunnel");
    assert_eq!(open.peer_services(), None, "nothing is offered yet");

    let offering = forward::offer(&serve, &[spec("web=80"), spec("22")]).expect("two services");
    event(&mut events, |e| matches!(e, Event::PeerServices(told) if told.names() == ["web", "22"])).await;
    let missing = |e: &Event| matches!(e, Event::ServiceMissing { service, .. } if service == "it");
    event(&mut events, missing).await;
    let snapshot = open.status().snapshot(&|_| None).await;
    assert_eq!(snapshot.peer_services, Some(vec!["web".into(), "22".into()]));
    assert_eq!(snapshot.troubles.len(), 1, "{:?}", snapshot.troubles);
    drop(offering);
    serve.close().await;
    event(&mut events, |e| matches!(e, Event::Searching { .. })).await;
    assert_eq!(open.peer_services(), None);

    let serve = start(Role::Serve, udp).await;
    let _offering = forward::offer(&serve, &[spec("other=80")]).expect("one service");
    let reaches = |e: &Event| matches!(e, Event::PortReaches { service, .. } if service == "other");
    event(&mut events, reaches).await;
    let snapshot = open.status().snapshot(&|_| None).await;
    assert_eq!(snapshot.forwards[0].reaches.as_deref(), Some("other"));
    assert_eq!(snapshot.troubles, [], "the port reaches something again");
    drop(local);
    open.close().await;
    serve.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_host_does_not_resolve_is_told_as_such_on_both_sides() {
    let udp = free_port().await;
    let (serve, open) = (start(Role::Serve, udp).await, start(Role::Open, udp).await);
    let (mut at_serve, mut at_open) = (serve.events(), open.events());
    let _offering = forward::offer(&serve, &[spec("it=no-such-host.invalid:80")]).expect("one service");
    let local = listen(&open);
    refusal(local.address()).await;
    let unresolved = |e: &Event| matches!(e, Event::ServiceFailed { reply: Reply::Unresolved, .. });
    event(&mut at_serve, unresolved).await;
    event(&mut at_open, unresolved).await;
    drop(local);
    open.close().await;
    serve.close().await;
}
