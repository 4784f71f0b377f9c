"""redis-py, plain and in cluster mode, RESP 2 and 3, against each node whose port is given."""

import sys

import redis
from redis.cluster import RedisCluster


def refuses(call, words):
    try:
        call()
    except redis.ResponseError as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"not refused: {words}")


def plain(port, protocol):
    client = redis.Redis(port=port, protocol=protocol)
    assert client.set("py:a", "1") and client.get("py:a") == b"1"
    assert client.delete("py:a", "py:none") == 1 and client.get("py:a") is None
    pipe = client.pipeline(transaction=False)
    for number in range(100):
        pipe.set(f"py:{number}", number)
    for number in range(100):
        pipe.get(f"py:{number}")
    answers = pipe.execute()
    assert answers == [True] * 100 + [str(number).encode() for number in range(100)]
    assert client.mset({"py:x": "1", "py:y": "2"}) and client.exists("py:x", "py:y") == 2
    assert client.mget("py:x", "py:none", "py:y") == [b"1", None, b"2"]
    assert client.dbsize() >= 0 and client.client_id() > 0 and client.config_get("save") is not None
    assert client.info("quorate") and client.echo("so") == b"so"
    largest = b"x" * (1 << 20)
    assert client.set("py:large", largest) and client.get("py:large") == largest
    refuses(lambda: client.set("py:large", largest + b"x"), "1048576")
    refuses(lambda: client.set("py:a", "1", nx=True), "NX")
    assert client.execute_command("Q.PUT", "py:v", "old") is not None
    assert client.execute_command("Q.GET", "py:v", "LEVEL", "quorum", "META") is not None
    assert client.execute_command("Q.DEL", "py:v") is not None


def cluster(port, protocol):
    client = RedisCluster(host="127.0.0.1", port=port, protocol=protocol)
    assert len(client.get_nodes()) == 3
    for number in range(100):
        assert client.set(f"pc:{number}", number)
    for number in range(100):
        assert client.get(f"pc:{number}") == str(number).encode()
    assert client.delete("pc:1") == 1
    pipe = client.pipeline()
    for number in range(50):
        pipe.set(f"pp:{number}", number)
        pipe.get(f"pp:{number}")
    assert pipe.execute()[1::2] == [str(number).encode() for number in range(50)]
    assert client.cluster_keyslot("foo") == 12182


for port in map(int, sys.argv[1:]):
    for protocol in (2, 3):
        plain(port, protocol)
        cluster(port, protocol)
print(f"redis-py {redis.__version__} ok: plain and cluster, RESP 2 and 3, {len(sys.argv) - 1} nodes")
