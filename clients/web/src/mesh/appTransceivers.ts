import { setEncoding } from './mediaSenders.js';

/** A transceiver of the application, as it is needed to add it to another connection. */
interface AppTransceiver {
  readonly kind: string;
  readonly track: MediaStreamTrack | null;
  readonly direction: RTCRtpTransceiverDirection;
  readonly encoding: RTCRtpEncodingParameters | undefined;
}

/**
 * The transceivers that the application has added to a connection by itself. `isOurs` tells those that the mesh or the
 * remote peer has added.
 */
export function readAppTransceivers(
  connection: RTCPeerConnection,
  isOurs: (transceiver: RTCRtpTransceiver) => boolean,
): AppTransceiver[] {
  return connection
    .getTransceivers()
    .filter((transceiver) => transceiver.direction !== 'stopped' && !isOurs(transceiver))
    .map(({ sender, receiver, direction }) => ({
      kind: receiver.track.kind,
      track: sender.track?.readyState === 'live' ? sender.track : null,
      direction,
      encoding: sender.getParameters().encodings?.[0],
    }));
}

/** Adds the transceivers to a new connection. */
export function addAppTransceivers(connection: RTCPeerConnection, transceivers: readonly AppTransceiver[]): void {
  for (const { kind, track, direction, encoding } of transceivers) {
    const { sender } = connection.addTransceiver(track ?? kind, { direction });
    if (encoding) void setEncoding(sender, encoding).catch(() => {});
  }
}
