/** The network path of media and data between two members, from the selected candidate pair. */
export interface Path {
  /** `host`: a local address; `srflx`, `prflx`: through a NAT; `relay`: through a TURN server. */
  readonly local: RTCIceCandidateType;
  readonly remote: RTCIceCandidateType;
  /** `udp`, `tcp` or `tls`. For a local `relay` candidate: the transport to the TURN server. */
  readonly protocol: string;
}

interface PairStats extends RTCIceCandidatePairStats {
  /** Firefox only. Older versions have no selectedCandidatePairId. */
  selected?: boolean;
}

interface CandidateStats extends RTCStats {
  candidateType?: RTCIceCandidateType;
  protocol?: string;
  relayProtocol?: string;
}

/** Returns the path of the selected candidate pair, if there is one. */
export async function selectedCandidatePair(connection: RTCPeerConnection): Promise<Path | undefined> {
  return readSelectedCandidatePair(await connection.getStats());
}

/** @internal Exported for tests. */
export function readSelectedCandidatePair(report: ReadonlyMap<string, unknown>): Path | undefined {
  const stats = [...report.values()] as RTCStats[];
  const transport = stats.find((stat): stat is RTCTransportStats => stat.type === 'transport');
  const pairs = stats.filter((stat): stat is PairStats => stat.type === 'candidate-pair');
  const pair =
    pairs.find((stat) => stat.id === transport?.selectedCandidatePairId) ??
    pairs.find((stat) => stat.selected) ??
    pairs.find((stat) => stat.nominated && stat.state === 'succeeded');
  const local = report.get(pair?.localCandidateId ?? '') as CandidateStats | undefined;
  const remote = report.get(pair?.remoteCandidateId ?? '') as CandidateStats | undefined;
  if (!local?.candidateType || !remote?.candidateType) return undefined;
  const protocol = local.relayProtocol || local.protocol || 'udp';
  return { local: local.candidateType, remote: remote.candidateType, protocol };
}
