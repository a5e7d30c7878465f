/** Bytes of media and data received over every candidate pair of a connection. Connectivity checks do not count. */
export async function receivedBytes(connection: RTCPeerConnection): Promise<number> {
  let bytes = 0;
  // RTCStatsReport is a map in every implementation.
  for (const stat of ((await connection.getStats()) as unknown as Map<string, RTCStats>).values()) {
    if (stat.type === 'candidate-pair') bytes += (stat as RTCIceCandidatePairStats).bytesReceived ?? 0;
  }
  return bytes;
}
