/** What the machine's firmware says of itself: no network and no right beside root is needed, in a pod neither. */
import { join } from 'node:path';
import type { Telling } from './facts.ts';
import { firstLine } from './first-line.ts';

/** Fields of /sys/class/dmi/id (Linux Documentation/ABI/testing/sysfs-class-dmi); '' where one cannot be read. */
interface Dmi {
  readonly sysVendor: string;
  readonly productName: string;
  readonly productUuid: string;
  readonly biosVersion: string;
  readonly boardAssetTag: string;
  readonly chassisAssetTag: string;
}

/** Provider and instance by the firmware, and its UUID as the last resort for the host's id. */
export function dmiTellings(sys = '/sys'): { readonly cloud: Telling; readonly uuid: Telling } {
  const dmi = readDmi(sys);
  return {
    cloud: { source: 'dmi', facts: { cloudProvider: providerOf(dmi), hostId: instanceOf(dmi) } },
    uuid: { source: 'dmi', facts: { hostId: uuidOf(dmi) } },
  };
}

function readDmi(sys: string): Dmi {
  const field = (name: string) => firstLine(join(sys, 'class/dmi/id', name));
  return {
    sysVendor: field('sys_vendor'),
    productName: field('product_name'),
    // Mode 0400: root's.
    productUuid: field('product_uuid').toLowerCase(),
    biosVersion: field('bios_version'),
    boardAssetTag: field('board_asset_tag'),
    chassisAssetTag: field('chassis_asset_tag'),
  };
}

/** Microsoft's asset tag of every Azure machine, other Hyper-V ones have another (cloud-init DataSourceAzure). */
const AZURE_TAG = '7783-7084-3265-9085-8269-3286-77';

/** By the marks that cloud-init's ds-identify goes by; OpenTelemetry's words for `cloud.provider`. */
function providerOf({ sysVendor, productName, biosVersion, chassisAssetTag }: Dmi): string {
  if (sysVendor === 'Amazon EC2' || /amazon/i.test(biosVersion)) return 'aws';
  if (productName === 'Google Compute Engine') return 'gcp';
  if (chassisAssetTag === AZURE_TAG) return 'azure';
  if (productName.startsWith('Alibaba Cloud')) return 'alibaba_cloud';
  if (chassisAssetTag === 'OracleCloud.com') return 'oracle_cloud';
  if (sysVendor === 'Tencent Cloud') return 'tencent_cloud';
  return '';
}

/** EC2 writes the instance's id into the board's asset tag (Nitro). The others' firmware has no id that they call so. */
function instanceOf({ sysVendor, boardAssetTag }: Dmi): string {
  return sysVendor === 'Amazon EC2' && /^i-[0-9a-f]{8,17}$/.test(boardAssetTag) ? boardAssetTag : '';
}

/** UUIDs that boards carry whose maker never set one: two machines with the same host id are worse than none. */
const UNSET_UUIDS = new Set([
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
  '03000200-0400-0500-0006-000700080009',
]);

function uuidOf({ productUuid }: Dmi): string {
  const isUuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(productUuid);
  return isUuid && !UNSET_UUIDS.has(productUuid) ? productUuid : '';
}
