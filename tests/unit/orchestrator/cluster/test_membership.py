"""Who votes, and which settings are refused."""

from pathlib import Path

import pytest

from distriqueue.core.errors import BadSetting
from distriqueue.settings import OrchestratorSettings
from orchestrator.cluster.election import config_of
from orchestrator.cluster.membership import Membership

PEERS = "orchestrator1=http://10.0.0.1:9081, orchestrator2=http://10.0.0.2:9082/,orchestrator3=https://three:9083"
SECRET = "sixteen letters!"


def membership(**settings: object) -> Membership:
    made: dict[str, object] = {"peers": PEERS, "cluster_secret": SECRET, "data_dir": "data"}
    return Membership.of(OrchestratorSettings.load(**(made | settings)))


def test_three_voters() -> None:
    made = membership(node_id="orchestrator2")
    assert made.peers == {"orchestrator1": "http://10.0.0.1:9081", "orchestrator3": "https://three:9083"}
    assert made.address == ("127.0.0.1", 9082)
    assert (made.secret, made.data_dir) == (SECRET.encode(), Path("data"))


def test_where_to_hear_the_others_can_be_said() -> None:
    assert membership(raft_host="10.0.0.9", raft_port=1234).address == ("10.0.0.9", 1234)


def test_a_node_alone_needs_nothing() -> None:
    made = membership(peers=None, cluster_secret=None, data_dir=None)
    assert (made.voters, made.peers, made.address, made.data_dir) == ({"orchestrator1": ""}, {}, None, None)
    assert made.is_voter


def test_a_node_outside_the_voters_takes_no_part() -> None:
    made = membership(node_id="elsewhere", data_dir=None)
    assert (made.is_voter, made.peers, made.address) == (False, {}, None)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cluster_secret": None}, "DISTRIQUEUE_CLUSTER_SECRET: 3 nodes need a common one of 16 characters"),
        ({"cluster_secret": "too short"}, "DISTRIQUEUE_CLUSTER_SECRET"),
        ({"data_dir": None}, "DISTRIQUEUE_DATA_DIR: one of several nodes must keep"),
        ({"peers": "http://10.0.0.1:9081"}, "DISTRIQUEUE_PEERS: 'http://10.0.0.1:9081' is not like"),
        ({"peers": "a=http://h"}, "DISTRIQUEUE_PEERS: 'a=http://h' is not like"),
        ({"peers": "a=ftp://h:1"}, "DISTRIQUEUE_PEERS"),
        ({"peers": "a=http://h:1,a=http://h:2"}, "DISTRIQUEUE_PEERS: 'a=http://h:2' is there twice"),
        ({"peers": "a=http://h:1,b=http://h:1/"}, "is there twice"),
        ({"node_id": "a b"}, "DISTRIQUEUE_NODE_ID"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], said: str) -> None:
    with pytest.raises(BadSetting) as refused:
        membership(**settings)
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)


def test_unsound_timing_is_a_wrong_setting() -> None:
    assert config_of(heartbeat_s=0.15, election_timeout_s=1.0).tick_s == pytest.approx(0.05)
    with pytest.raises(BadSetting, match="DISTRIQUEUE_ELECTION_TIMEOUT"):
        config_of(heartbeat_s=0.5, election_timeout_s=1.0)
