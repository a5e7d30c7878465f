/** Returns the bytes of media and data received over all candidate pairs, without connectivity checks. */
export async function receivedBytes(connection: RTCPeerConnection): Promise<number> {
  let bytes = 0;
  // RTCStatsReport is a map in every implementation.
  for (const stat of ((await connection.getStats()) as unknown as Map<string, RTCStats>).values()) {
    if (stat.type === 'candidate-pair') bytes += (stat as RTCIceCandidatePairStats).bytesReceived ?? 0;
  }
  return bytes;
}
