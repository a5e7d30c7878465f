import { setEncoding } from './mediaSenders.js';

/** The properties from which a transceiver of the application is recreated on another connection. */
interface AppTransceiver {
  readonly kind: string;
  readonly track: MediaStreamTrack | null;
  readonly direction: RTCRtpTransceiverDirection;
  readonly encoding: RTCRtpEncodingParameters | undefined;
}

/**
 * Returns the transceivers that the application added to a connection. `isOurs` recognizes those that the mesh or the
 * remote peer added.
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
