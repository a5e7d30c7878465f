"""A room member with aiortc and grpcio, for tests. It uses nothing of the project except signal.proto.

    PYTHONPATH=FOLDER python3 aiortc_member.py HOST:PORT ROOM [--no-numbers]

It connects to the only other member. README.md lists the commands on stdin and the events on stdout.
"""

import argparse
import asyncio
import json
import re
import sys
from pathlib import Path

import aiortc
import grpc
import grpc_tools
from aiortc import (
    AudioStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp
from av import VideoFrame

ROOT = Path(__file__).resolve().parents[2]
# grpcio compiles .proto files that it finds on the module path.
sys.path += [str(ROOT / "proto"), str(Path(grpc_tools.__file__).parent / "_proto")]
pb, services = grpc.protos_and_services("signalbox/v1/signal.proto")

# aiortc 1.8 cannot be notified of the end of candidates.
KNOWS_END_OF_CANDIDATES = not aiortc.__version__.startswith("1.8.")
# A frame is about 33 ms of video or 20 ms of audio.
FRAMES_PER_EVENT = 10


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


class Session:
    """A session on Exchange. It does not resume: the tests keep its stream open."""

    def __init__(self, address, incoming):
        self._channel = grpc.aio.insecure_channel(address)
        self._stub = services.SignalStub(self._channel)
        self._incoming = incoming
        self._outgoing = asyncio.Queue()
        self._last_sent = 0
        self._last_seen = 0

    def start(self, room):
        join = pb.Join(room=room, display_name="aiortc", attributes={"stack": "aiortc"})
        self._outgoing.put_nowait(pb.ClientMessage(join=join))
        return asyncio.create_task(self._read())

    def send(self, **fields):
        self._last_sent += 1
        self._outgoing.put_nowait(pb.ClientMessage(seq=self._last_sent, ack=self._last_seen, **fields))

    async def close(self):
        await self._channel.close()

    async def _write(self):
        while True:
            message = await self._outgoing.get()
            yield message
            if message.HasField("leave"):
                return

    async def _read(self):
        try:
            async for message in self._stub.Exchange(self._write()):
                self._last_seen = max(self._last_seen, message.seq)
                body = message.WhichOneof("body")
                if body == "heartbeat":
                    beat = pb.ClientMessage(ack=self._last_seen, heartbeat=pb.Heartbeat())
                    self._outgoing.put_nowait(beat)
                elif body:
                    self._incoming.put_nowait((body, message))
        except grpc.aio.AioRpcError as error:
            emit("error", text=f"{error.code().name}: {error.details()}")
        self._incoming.put_nowait(("streamEnded", None))


class Numbers:
    """Negotiation numbers: odd on the impolite side, even on the polite side, above all that were used."""

    def __init__(self, polite, enabled):
        self._polite = polite
        self._enabled = enabled
        self._highest = 0

    def next(self):
        if not self._enabled:
            return 0
        self._highest += 1
        if self._highest % 2 == (1 if self._polite else 0):
            self._highest += 1
        return self._highest

    def observe(self, number):
        self._highest = max(self._highest, number)


class SmallVideo(VideoStreamTrack):
    """Black video. It is small, because several encoders share the machine of the tests."""

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        frame = VideoFrame(width=160, height=120)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts, frame.time_base = pts, time_base
        return frame


def fingerprints(sdp):
    return {match.upper() for match in re.findall(r"^a=fingerprint:(.*?)\s*$", sdp, re.M)}


def ufrag(sdp):
    return re.search(r"^a=ice-ufrag:(\S+)", sdp, re.M).group(1)


def session_id(sdp):
    """The session id, unless it is a timestamp that repeats as the version."""
    number, version = re.search(r"^o=\S+ (\S+) (\S+)", sdp, re.M).groups()
    return number if number != version else None


def is_same_connection(old, new):
    """Whether two descriptions come from the same RTCPeerConnection: see docs/native-members.md."""
    if ufrag(old) == ufrag(new):
        return True
    if not fingerprints(old) & fingerprints(new):
        return False
    has_same_id = session_id(new) is not None and session_id(old) == session_id(new)
    return has_same_id or "a=setup:actpass" not in new


def is_of_bundle(sdp, candidate):
    """Whether a candidate belongs to the transport of the BUNDLE group, which is the one of the first m-line.

    Firefox gathers for the other m-lines too, and closes those sockets.
    """
    if candidate.sdp_mid:
        return candidate.sdp_mid == re.search(r"^a=mid:(\S+)", sdp, re.M).group(1)
    return candidate.sdp_m_line_index == 0


def facts(sdp):
    """What the tests check in a description."""
    return {
        "setup": re.findall(r"^a=setup:(\w+)", sdp, re.M),
        "ufrag": ufrag(sdp),
        "mLines": len(re.findall(r"^m=", sdp, re.M)),
    }


class Peer:
    """The connection to the other member."""

    def __init__(self, session, member, polite, numbered):
        self._session = session
        self._member = member
        self._polite = polite
        self._numbers = Numbers(polite, numbered)
        self._offered = None
        self._held = None
        self._tasks = set()
        self._open()

    def _open(self, certificates=None):
        # An empty list: aiortc asks a public STUN server by default.
        self._pc = pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        if certificates:
            # aiortc has no setting for certificates.
            pc._RTCPeerConnection__certificates = certificates
        self._offered = None
        # The last description that was received.
        self._remote = None
        self._has_answered = False
        pc.addTrack(AudioStreamTrack())
        pc.addTrack(SmallVideo())
        self._channel = channel = pc.createDataChannel("signalbox", negotiated=True, id=0)
        channel.on("open", lambda: emit("channelOpen"))
        channel.on("message", lambda text: emit("message", text=text))
        if channel.readyState == "open":
            emit("channelOpen")
        pc.on("track", lambda track: self._start(self._count_frames(track)))
        pc.on("connectionstatechange", lambda: emit("state", state=pc.connectionState))

    def _start(self, work):
        # The loop keeps weak references only.
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _count_frames(self, track):
        count = 0
        try:
            while True:
                await track.recv()
                count += 1
                if count % FRAMES_PER_EVENT == 0:
                    emit("frames", kind=track.kind, count=count)
        except MediaStreamError:
            pass

    async def offer(self):
        self._send_offer(await self._make_offer())

    async def _make_offer(self):
        await self._pc.setLocalDescription(await self._pc.createOffer())
        self._offered = self._numbers.next()
        return self._pc.localDescription.sdp, self._offered

    def _send_offer(self, offer):
        sdp, number = offer
        self._send(number, offer=pb.SessionDescription(sdp=sdp))
        emit("offerSent", negotiation=number, **facts(sdp))

    def _send(self, number, **body):
        self._session.send(to=self._member, negotiation=number, **body)

    async def handle_offer(self, sdp, number):
        if self._held:
            self._send_offer(self._held)
            self._held = None
        self._numbers.observe(number)
        collision = self._pc.signalingState == "have-local-offer"
        if collision and not self._polite:
            emit("offerIgnored", negotiation=number, **facts(sdp))
            return
        is_first = self._remote is None
        same = is_first or (self._pc.signalingState != "closed" and is_same_connection(self._remote, sdp))
        restarts_ice = same and not is_first and ufrag(self._remote) != ufrag(sdp)
        # aiortc has neither rollback nor ICE restarts: it answers from a new connection.
        if collision or not same or restarts_ice:
            await self._pc.close()
            self._open()
        self._remote = sdp
        emit("offer", negotiation=number, newConnection=not same, **facts(sdp))
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        self._has_answered = True
        answer = self._pc.localDescription.sdp
        self._send(number, answer=pb.SessionDescription(sdp=answer))
        emit("answerSent", negotiation=number, **facts(answer))

    async def handle_answer(self, sdp, number):
        if self._offered is None or number != self._offered:
            return
        self._offered = None
        same = self._remote is None or is_same_connection(self._remote, sdp)
        emit("answer", negotiation=number, newConnection=not same, **facts(sdp))
        if not same:
            # The offer belongs to the connection that the remote peer closed.
            await self._pc.close()
            self._open()
            await self.offer()
            return
        self._remote = sdp
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def handle_candidate(self, candidate, number):
        emit("candidate", negotiation=number, end=candidate.candidate == "")
        if not self._pc.remoteDescription or self._pc.signalingState == "closed":
            return
        if not is_of_bundle(self._pc.remoteDescription.sdp, candidate):
            return
        if not candidate.candidate:
            if KNOWS_END_OF_CANDIDATES:
                await self._pc.addIceCandidate(None)
            return
        parsed = candidate_from_sdp(candidate.candidate.split(":", 1)[1])
        parsed.sdpMid = candidate.sdp_mid
        parsed.sdpMLineIndex = candidate.sdp_m_line_index
        await self._pc.addIceCandidate(parsed)

    async def renegotiate(self):
        # In an offer after an answer, aiortc assigns other ids to RTP header extensions, which Chromium rejects.
        if self._has_answered:
            await self._pc.close()
            self._open()
        self._pc.addTransceiver("audio", direction="recvonly")
        await self.offer()

    async def collide(self):
        self._pc.addTransceiver("audio", direction="recvonly")
        self._held = await self._make_offer()
        emit("offerHeld")

    async def recreate(self, keep_certificate=False):
        certificates = self._pc._RTCPeerConnection__certificates if keep_certificate else None
        await self._pc.close()
        self._open(certificates)
        await self.offer()

    def send(self, text):
        self._channel.send(text)

    async def close(self):
        await self._pc.close()


class Member:
    def __init__(self, args):
        self._queue = asyncio.Queue()
        self._session = Session(args.address, self._queue)
        self._room = args.room
        self._numbered = not args.no_numbers
        self._me = None
        self._peer = None

    async def run(self):
        """Handles messages and commands one at a time, so that no two negotiations interleave."""
        reader = self._session.start(self._room)
        asyncio.get_running_loop().add_reader(sys.stdin, self._read_command)
        while True:
            name, value = await self._queue.get()
            if name == "streamEnded":
                break
            try:
                await self._handle(name, value)
            except Exception as error:  # the test decides whether it is one
                emit("error", text=f"{type(error).__name__}: {error}")
        await reader
        await self._session.close()

    def _read_command(self):
        line = sys.stdin.readline()
        self._queue.put_nowait(("command", line.strip() if line else "leave"))
        if not line:
            asyncio.get_running_loop().remove_reader(sys.stdin)

    async def _handle(self, name, value):
        if name == "command":
            await self._run_command(value)
        elif name == "welcome":
            self._me = value.welcome.you
            for member in value.welcome.members:
                self._connect(member)
            emit("joined", memberId=self._me.member_id, members=len(value.welcome.members))
        elif name == "member_joined":
            self._connect(value.member_joined.member)
            await self._peer.offer()
        elif name == "member_left" and self._peer:
            await self._peer.close()
            self._peer = None
            emit("memberLeft")
        elif name == "undelivered":
            emit("error", text=f"undelivered: {value.undelivered.reason}")
        elif self._peer and name == "offer":
            await self._peer.handle_offer(value.offer.sdp, value.negotiation)
        elif self._peer and name == "answer":
            await self._peer.handle_answer(value.answer.sdp, value.negotiation)
        elif self._peer and name == "candidate":
            await self._peer.handle_candidate(value.candidate, value.negotiation)

    def _connect(self, member):
        polite = self._me.join_order > member.join_order
        self._peer = Peer(self._session, member.member_id, polite, self._numbered)

    async def _run_command(self, line):
        command, _, text = line.partition(" ")
        if command == "leave":
            if self._peer:
                await self._peer.close()
            self._session.send(leave=pb.Leave())
        elif command == "send":
            self._peer.send(text)
        elif command == "renegotiate":
            await self._peer.renegotiate()
        elif command == "collide":
            await self._peer.collide()
        elif command == "recreate":
            await self._peer.recreate()
        elif command == "recreate-same-cert":
            await self._peer.recreate(keep_certificate=True)
        else:
            emit("error", text=f"unknown command {command}")


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("room")
    parser.add_argument("--no-numbers", action="store_true", help="send negotiation 0")
    # Within the event loop, to which a channel of grpcio belongs.
    await Member(parser.parse_args()).run()


asyncio.run(main())
