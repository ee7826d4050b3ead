// A balancer for grpc-js that takes any of the addresses behind a name: agents which resolve it alike must not all take
// the first. pick_first's own shuffleAddressList (1.14.7) never moves the second of its list, and so does nothing for two.

import { experimental } from '@grpc/grpc-js';

const NAME = 'kerntap_pick_any';
const PICK_FIRST = experimental.parseLoadBalancingConfig({ pick_first: {} });

class AnyConfig implements experimental.TypedLoadBalancingConfig {
  static createFromJson(): AnyConfig {
    return new AnyConfig();
  }

  getLoadBalancerName(): string {
    return NAME;
  }

  toJsonObject(): object {
    return { [NAME]: {} };
  }
}

class PickAny extends experimental.ChildLoadBalancerHandler implements experimental.LoadBalancer {
  override updateAddressList(
    ...[endpoints, , options, note]: Parameters<experimental.LoadBalancer['updateAddressList']>
  ) {
    const list = endpoints.ok ? experimental.statusOrFromValue(shuffled(endpoints.value)) : endpoints;
    return super.updateAddressList(list, PICK_FIRST, options, note);
  }

  override getTypeName(): string {
    return NAME;
  }
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, place: Math.random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);
}

/** Value of `grpc.service_config` for a channel that is to be balanced so. */
export function pickAny(): string {
  if (!experimental.isLoadBalancerNameRegistered(NAME)) experimental.registerLoadBalancerType(NAME, PickAny, AnyConfig);
  return JSON.stringify({ loadBalancingConfig: [{ [NAME]: {} }] });
}
