// Calls between browsers and native members with WebRTC stacks of other projects: testing/interop.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FIREFOX, missing, openFirefox, openPage, startServer, until, videoFlows } from './harness.mjs';
import { STACKS, startMember } from './nativeMember.mjs';

/** Joins a room with the library alone, and keeps what the tests check. */
const joinPage = (page, room) =>
  page.evaluate(async (room) => {
    const { Mesh } = await import(new URL('/lib/index.js', location.href).href);
    const video = { width: 160, height: 120 };
    window.stream ??= await navigator.mediaDevices.getUserMedia({ audio: true, video });
    const mesh = await Mesh.join(room, { displayName: 'page', stream: window.stream });
    window.signalboxDemo = { mesh, session: mesh.session };
    window.messages = [];
    window.warnings = [];
    mesh.on('message', ({ data }) => window.messages.push(data));
    mesh.on('warning', ({ error }) => window.warnings.push(String(error)));
    window.peer = () => [...mesh.peers.values()][0];
  }, room);

const state = (page) =>
  page.evaluate(() => {
    const { connection, state } = window.peer() ?? {};
    return {
      state,
      signaling: connection?.signalingState,
      negotiated: connection?.getTransceivers().filter(({ mid }) => mid !== null).length,
      transceivers: connection?.getTransceivers().length,
      isFirst: connection === window.first,
    };
  });

/** Waits until the connection is stable with `count` transceivers, all of them negotiated. */
async function hasNegotiated(page, count) {
  let now;
  const check = async () => {
    now = await state(page);
    return now.state === 'connected' && now.signaling === 'stable' && now.negotiated === count && now;
  };
  try {
    await until(`${count} negotiated transceivers`, check, 10_000);
  } catch (error) {
    throw new Error(`${error.message}: ${JSON.stringify(now)}`);
  }
  assert.equal(now.transceivers, count);
  return now;
}

/** Sends to the only peer. Returns whether it could be sent. */
const sendFromPage = (page, text) =>
  page.evaluate((text) => {
    const { mesh } = window.signalboxDemo;
    return mesh.peers.size === 1 && mesh.broadcast(text).length === 0;
  }, text);

/** Sends a message each way, once, and waits for media in both directions. */
async function works({ page, member }, name) {
  const { mark } = member;
  await until('an open channel', () => sendFromPage(page, `${name} from the page`));
  await member.next('message', { where: ({ text }) => text === `${name} from the page` });
  member.command(`send ${name} from the member`);
  const received = () => page.evaluate((text) => window.messages.includes(text), `${name} from the member`);
  await until('the message of the member', received);
  await Promise.all([member.next('frames', { mark, where: ({ kind }) => kind === 'video' }), videoFlows(page)]);
}

/** Waits until messages arrive over a new connection, and then for all that `works` checks. */
async function worksAgain(call, name) {
  const { page, member } = call;
  const arrived = () => member.events('message').some(({ text }) => text === `${name} again`);
  await until('a message over the new connection', async () => {
    await sendFromPage(page, `${name} again`);
    return arrived();
  });
  await works(call, name);
}

/** Not an inactive one, which werift rejects. */
const addTransceiver = (page) => page.evaluate(() => void window.peer().connection.addTransceiver('audio'));

const isActpass = ({ setup }) => setup.length > 0 && setup.every((role) => role === 'actpass');

/** The ICE username fragment in the last description that the member sent. */
const sentUfrag = (member) => [...member.events('offerSent'), ...member.events('answerSent')].at(-1).ufrag;

async function memberRestartsIce(call, name) {
  const { page, member } = call;
  const { mark } = member;
  const ufrag = sentUfrag(member);
  member.command('restart-ice');
  assert.notEqual((await member.next('offerSent', { mark })).ufrag, ufrag);
  assert.equal((await member.next('answer', { mark })).newConnection, false);
  await works(call, name);
  assert.ok((await hasNegotiated(page, 2)).isFirst, 'the RTCPeerConnection of the page is kept');
}

const PAGE_FIRST = 'page joins first';
const MEMBER_FIRST = 'member joins first';

// The warning of a page whose offer the member answers from a new connection.
const OTHER_CONNECTION = 'Error: the answer came from another connection';

/** The cases by name. Each gets a call that works, the order of the joins and the stack. Returns expected warnings. */
const CASES = {
  async 'candidates end, and a member that leaves is removed'({ page, member }, order) {
    const { negotiation } = await member.next('candidate', { where: ({ end }) => end });
    assert.equal(negotiation, 1);
    if (order === PAGE_FIRST) {
      assert.ok(isActpass(await member.next('offer')));
      member.command('leave');
      await until('the peer to be removed', () => page.evaluate(() => window.signalboxDemo.mesh.peers.size === 0));
    } else {
      await page.evaluate(() => window.signalboxDemo.mesh.leave());
      await member.next('memberLeft');
    }
  },

  async 'page renegotiates'(call) {
    const { page, member } = call;
    const { mark } = member;
    await addTransceiver(page);
    const offer = await member.next('offer', { mark });
    assert.ok(isActpass(offer), `a=setup of the offer: ${offer.setup}`);
    assert.equal(offer.newConnection, false);
    assert.equal(offer.mLines, 4);
    assert.ok((await hasNegotiated(page, 3)).isFirst, 'the RTCPeerConnection of the page is kept');
    await works(call, 'renegotiated');
  },

  async 'member renegotiates'(call, order, stack) {
    const { page, member } = call;
    const { mark } = member;
    member.command('renegotiate');
    const answer = await member.next('answer', { mark });
    assert.equal(answer.newConnection, false);
    const opensConnection = stack.isLimited && order === PAGE_FIRST;
    const { isFirst } = await hasNegotiated(page, 3);
    assert.equal(isFirst, !opensConnection, 'the RTCPeerConnection of the page is kept, unless the member opens one');
    await works(call, 'renegotiated');
  },

  async 'page restarts ICE'(call, _order, stack) {
    const { page, member } = call;
    const { mark } = member;
    const ufrag = sentUfrag(member);
    await page.evaluate(() => window.peer().connection.restartIce());
    const offer = await member.next('offer', { mark });
    assert.ok(isActpass(offer), `a=setup of the offer: ${offer.setup}`);
    assert.equal(offer.newConnection, false);
    assert.notEqual((await member.next('answerSent', { mark })).ufrag, ufrag);
    await (stack.isLimited ? worksAgain : works)(call, 'restarted');
    const { isFirst } = await hasNegotiated(page, 2);
    assert.equal(isFirst, !stack.isLimited, 'the RTCPeerConnection of the page is kept, unless the member opens one');
    return stack.isLimited ? [OTHER_CONNECTION] : [];
  },

  async 'member restarts ICE'(call) {
    await memberRestartsIce(call, 'restarted');
  },

  async 'fingerprints may be in capitals'(call) {
    call.member.command('capital-fingerprints');
    await memberRestartsIce(call, 'restarted');
  },

  async 'offers that collide converge'(call, order, stack) {
    const { page, member } = call;
    const { mark } = member;
    member.command('collide');
    await member.next('offerHeld', { mark });
    await addTransceiver(page);
    if (order === PAGE_FIRST) {
      // The member is polite. Without a rollback it answers from a new connection, which loses the member's offer.
      await member.next('answerSent', { mark });
      await (stack.isLimited ? worksAgain : works)(call, 'converged');
      assert.equal((await hasNegotiated(page, 3)).isFirst, !stack.isLimited);
      return stack.isLimited ? [OTHER_CONNECTION] : [];
    }
    await member.next('offerIgnored', { mark });
    await member.next('answer', { mark });
    // The page is polite: it answers, and then offers its own change again.
    await member.next('offer', { mark });
    if (!stack.offersTransceivers) {
      await worksAgain(call, 'converged');
      assert.equal((await hasNegotiated(page, 3)).isFirst, false);
      return [OTHER_CONNECTION];
    }
    assert.ok((await hasNegotiated(page, 4)).isFirst, 'the RTCPeerConnection of the page is kept');
    await works(call, 'converged');
  },

  async 'member opens new connections, with another and with the same certificate'(call) {
    for (const command of ['recreate', 'recreate-same-cert']) {
      const { mark } = call.member;
      call.member.command(command);
      await call.member.next('channelOpen', { mark });
      await worksAgain(call, command);
    }
  },
};

const BOTH_ORDERS = [PAGE_FIRST, MEMBER_FIRST];
/** The orders of the joins for each case: both where another side has to act, or is polite. */
const ORDERS = {
  'candidates end, and a member that leaves is removed': BOTH_ORDERS,
  'page renegotiates': [PAGE_FIRST],
  'member renegotiates': BOTH_ORDERS,
  'page restarts ICE': [MEMBER_FIRST],
  'member restarts ICE': [PAGE_FIRST],
  'fingerprints may be in capitals': [MEMBER_FIRST],
  'offers that collide converge': BOTH_ORDERS,
  'member opens new connections, with another and with the same certificate': [PAGE_FIRST],
};
const NEEDS_ICE_RESTART = ['member restarts ICE', 'fingerprints may be in capitals'];
/** The cases in which a page offers after the DTLS role is settled. */
const STRICT_ROLE_CASES = ['page renegotiates', 'page restarts ICE', 'offers that collide converge'];
/** The cases that depend on the browser's descriptions. */
const FIREFOX_CASES = [
  'page renegotiates',
  'member renegotiates',
  'page restarts ICE',
  'member restarts ICE',
  'member opens new connections, with another and with the same certificate',
];

/** The names and orders of the cases for a browser and a stack. */
function casesOf(browser, { isLimited, strictRole }) {
  const isSelected = (name) =>
    (browser === 'Chromium' || FIREFOX_CASES.includes(name)) &&
    (!strictRole || STRICT_ROLE_CASES.includes(name)) &&
    (!isLimited || !NEEDS_ICE_RESTART.includes(name));
  const names = Object.keys(CASES).filter(isSelected);
  return names.flatMap((name) => ORDERS[name].map((order) => ({ name, order, run: CASES[name] })));
}

let rooms = 0;

/** Joins both in `order`, and waits until the call works. */
async function startCall(t, { page, url, stack, order, flags }) {
  rooms += 1;
  const room = `interop-${rooms}`;
  let member;
  const joinMember = async () => {
    member = await startMember(stack, url, room, flags);
    t.after(() => member.stop());
  };
  if (order === PAGE_FIRST) await joinPage(page, room);
  await joinMember();
  if (order === MEMBER_FIRST) await joinPage(page, room);
  t.after(() => page.evaluate(() => window.signalboxDemo.mesh.leave()));
  await works({ page, member }, 'first');
  await page.evaluate(() => {
    window.first = window.peer().connection;
  });
  return { page, member };
}

async function assertNoErrors({ page, member }, warnings = []) {
  assert.deepEqual(member.events('error'), []);
  assert.deepEqual(await page.evaluate(() => window.warnings), warnings);
}

const browsers = [
  ['Chromium', openPage, []],
  ['Firefox', openFirefox, [FIREFOX]],
];
for (const [browser, open, needs] of browsers) {
  for (const stack of STACKS) {
    // The page decides about the DTLS role, not the browser: one browser is enough.
    if (stack.strictRole && browser !== 'Chromium') continue;
    const skip = missing(...needs, stack.needs);
    test(`${browser} and ${stack.name}`, { skip }, async (t) => {
      const { url } = await startServer(t);
      const page = await open(t);
      await page.goto(url);
      for (const { name, order, run } of casesOf(browser, stack)) {
        await t.test(`${name}, ${order}`, async (t) => {
          const call = await startCall(t, { page, url, stack, order });
          await assertNoErrors(call, await run(call, order, stack));
        });
      }
      if (browser !== 'Chromium' || stack.strictRole) return;
      await t.test('candidates end without negotiation numbers too', async (t) => {
        const flags = ['--no-numbers'];
        const call = await startCall(t, { page, url, stack, order: MEMBER_FIRST, flags });
        const { negotiation } = await call.member.next('candidate', { where: ({ end }) => end });
        assert.equal(negotiation, 0);
        await assertNoErrors(call);
      });
    });
  }
}

// The control: what fails only with a page is a fault of the page.
const [first, , second] = STACKS;
test(`native members: ${first.name}, then ${second.name}`, { skip: missing(first.needs, second.needs) }, async (t) => {
  const { url } = await startServer(t);
  const members = [];
  for (const stack of [first, second]) {
    const member = await startMember(stack, url, 'native');
    t.after(() => member.stop());
    members.push(member);
  }
  const [ann, ben] = members;
  const open = (marks) => Promise.all(members.map((member, i) => member.next('channelOpen', { mark: marks[i] })));
  const talk = async (from, to, text) => {
    from.command(`send ${text}`);
    await to.next('message', { where: (message) => message.text === text });
  };
  await open([0, 0]);
  await talk(ann, ben, 'hello');
  for (const [member, other] of [members, [ben, ann]]) {
    const { mark } = member;
    member.command('renegotiate');
    assert.equal((await member.next('answer', { mark })).newConnection, false);
    await talk(member, other, `renegotiated by ${member === ann ? 'Ann' : 'Ben'}`);
    const marks = members.map(({ mark }) => mark);
    member.command('recreate-same-cert');
    await open(marks);
    await talk(other, member, `new connection of ${member === ann ? 'Ann' : 'Ben'}`);
  }
  for (const member of members) {
    const { mark } = member;
    await member.next('frames', { mark });
    assert.deepEqual(member.events('error'), []);
  }
});
