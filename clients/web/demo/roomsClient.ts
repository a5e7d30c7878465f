import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

const SERVICE = 'signalbox.v1.Rooms';
const TRAILER_FLAG = 0x80;
/** Field numbers of rooms.proto and signal.proto. */
const FIRST_FIELD = 1;
const SECOND_FIELD = 2;
const ROOM_LOCKED = 5;

/**
 * The calls of Rooms that a host needs, over gRPC-Web. They are so few that the generated code, which the page would
 * have to load, is not worth its size.
 */
export class RoomsClient {
  readonly #url: () => string;
  readonly #token: string;
  readonly #room: string;

  constructor(url: () => string, token: string, room: string) {
    this.#url = url;
    this.#token = token;
    this.#room = room;
  }

  /** Whether the room is locked. Throws if Rooms cannot be reached from here. */
  async isLocked(): Promise<boolean> {
    const room = await this.#call('GetRoom', textField(new BinaryWriter(), FIRST_FIELD, this.#room));
    const reader = new BinaryReader(room);
    let locked = false;
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      if (field === ROOM_LOCKED) locked = reader.bool();
      else reader.skip(type, field);
    }
    return locked;
  }

  async setLocked(locked: boolean): Promise<void> {
    const room = textField(new BinaryWriter(), FIRST_FIELD, this.#room).tag(ROOM_LOCKED, WireType.Varint).bool(locked);
    const mask = textField(new BinaryWriter(), FIRST_FIELD, 'locked');
    const request = new BinaryWriter();
    request.tag(FIRST_FIELD, WireType.LengthDelimited).bytes(room.finish());
    request.tag(SECOND_FIELD, WireType.LengthDelimited).bytes(mask.finish());
    await this.#call('UpdateRoom', request);
  }

  async removeMember(memberId: string): Promise<void> {
    const request = textField(new BinaryWriter(), FIRST_FIELD, this.#room);
    await this.#call('RemoveMember', textField(request, SECOND_FIELD, memberId));
  }

  /** Returns the response message. */
  async #call(method: string, request: BinaryWriter): Promise<Uint8Array> {
    const message = request.finish();
    const frame = new Uint8Array(5 + message.length);
    new DataView(frame.buffer).setUint32(1, message.length);
    frame.set(message, 5);
    const response = await fetch(`${this.#url()}/${SERVICE}/${method}`, {
      method: 'POST',
      headers: { 'content-type': 'application/grpc-web+proto', authorization: `Bearer ${this.#token}` },
      body: frame,
    });
    const frames = new Uint8Array(await response.arrayBuffer());
    const view = new DataView(frames.buffer);
    let status = response.headers.get('grpc-status');
    let result = new Uint8Array();
    for (let at = 0; at + 5 <= frames.length; ) {
      const length = view.getUint32(at + 1);
      const content = frames.slice(at + 5, at + 5 + length);
      const isTrailer = ((frames[at] ?? 0) & TRAILER_FLAG) !== 0;
      if (isTrailer) status = /grpc-status:\s*(\d+)/i.exec(new TextDecoder().decode(content))?.[1] ?? status;
      else result = content;
      at += 5 + length;
    }
    if (status !== '0') throw new Error(`${method} failed with gRPC status ${status ?? response.status}`);
    return result;
  }
}

function textField(writer: BinaryWriter, field: number, text: string): BinaryWriter {
  return writer.tag(field, WireType.LengthDelimited).string(text);
}
