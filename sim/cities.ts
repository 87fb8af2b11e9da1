/**
 * Cities with data centres, by the code of an airport, with latitude and longitude in degrees (to a tenth: some 10 km), and how
 * far light takes between them.
 */

export interface City {
  readonly code: string;
  readonly latitude: number;
  readonly longitude: number;
}

const table = `
AMS 52.3 4.8; ARN 59.7 17.9; ATH 37.9 23.7; BCN 41.3 2.1; BEG 44.8 20.3; BER 52.4 13.5; BRU 50.9 4.5; BTS 48.2 17.2;
BUD 47.4 19.3; CDG 49.0 2.5; CPH 55.6 12.7; DUB 53.4 -6.3; DUS 51.3 6.8; EDI 55.9 -3.4; FCO 41.8 12.3; FRA 50.0 8.6;
GOT 57.7 12.3; GVA 46.2 6.1; HAM 53.6 10.0; HEL 60.3 25.0; KBP 50.3 30.9; KEF 64.0 -22.6; KIV 46.9 28.9; LHR 51.5 -0.5;
LIS 38.8 -9.1; LUX 49.6 6.2; LYS 45.7 5.1; MAD 40.5 -3.6; MAN 53.4 -2.3; MRS 43.4 5.2; MUC 48.4 11.8; MXP 45.6 8.7;
OSL 60.2 11.1; OTP 44.6 26.1; PMO 38.2 13.1; PRG 50.1 14.3; RIX 56.9 24.0; SKG 40.5 23.0; SKP 42.0 21.6; SOF 42.7 23.4;
STR 48.7 9.2; TIA 41.4 19.7; TLL 59.4 24.8; VIE 48.1 16.6; VNO 54.6 25.3; WAW 52.2 21.0; ZAG 45.7 16.1; ZRH 47.5 8.5;
BOD 44.8 -0.7; ORK 51.8 -8.5; LED 59.8 30.3; DME 55.4 37.9; SVX 56.7 60.8; KJA 56.2 92.5; OVB 55.0 82.7; KZN 55.6 49.3;
AER 43.4 39.9; MSQ 53.9 28.0; LCA 34.9 33.6; MLA 35.9 14.5; SJJ 43.8 18.3; LJU 46.2 14.5; IST 41.3 28.7; ADB 38.3 27.2;
ESB 40.1 33.0; TBS 41.7 44.9; EVN 40.1 44.4; GYD 40.5 50.0; TLV 32.0 34.9; HFA 32.8 35.0; AMM 31.7 36.0; BEY 33.8 35.5;
BGW 33.3 44.2; EBL 36.2 44.0; KWI 29.2 48.0; DMM 26.5 49.8; RUH 24.9 46.7; JED 21.7 39.2; DOH 25.3 51.6; BAH 26.3 50.6;
DXB 25.3 55.4; MCT 23.6 58.3; ZDM 32.3 35.2; CAI 30.1 31.4; ALG 36.7 3.2; ORN 35.6 -0.6; TUN 36.9 10.2; CMN 33.4 -7.6;
RBA 34.1 -6.8; DKR 14.7 -17.1; ABJ 5.3 -3.9; ACC 5.6 -0.2; LOS 6.6 3.3; ABV 9.0 7.3; FIH -4.4 15.4; LAD -8.9 13.2;
KGL -2.0 30.1; EBB 0.0 32.4; NBO -1.3 36.9; MBA -4.0 39.6; DAR -6.9 39.2; ADD 9.0 38.8; JIB 11.5 43.2; LUN -15.3 28.5;
LLW -13.8 33.8; HRE -17.9 31.1; GBE -24.6 25.9; WDH -22.5 17.5; JNB -26.1 28.2; CPT -34.0 18.6; DUR -29.6 31.1; MPM -25.9 32.6;
TNR -18.8 47.5; MRU -20.4 57.7; RUN -20.9 55.5; ATL 33.6 -84.4; AUS 30.2 -97.7; BNA 36.1 -86.7; BOS 42.4 -71.0; BUF 42.9 -78.7;
CLE 41.4 -81.8; CLT 35.2 -80.9; CMH 40.0 -82.9; DEN 39.9 -104.7; DFW 32.9 -97.0; DTW 42.2 -83.4; EWR 40.7 -74.2; HNL 21.3 -157.9;
IAD 38.9 -77.5; IAH 30.0 -95.3; IND 39.7 -86.3; JAX 30.5 -81.7; LAS 36.1 -115.2; LAX 33.9 -118.4; MCI 39.3 -94.7; MEM 35.0 -90.0;
MIA 25.8 -80.3; MSP 44.9 -93.2; OKC 35.4 -97.6; OMA 41.3 -95.9; ORD 42.0 -87.9; ORF 36.9 -76.2; PDX 45.6 -122.6; PHL 39.9 -75.2;
PHX 33.4 -112.0; PIT 40.5 -80.2; RDU 35.9 -78.8; RIC 37.5 -77.3; SAN 32.7 -117.2; SAT 29.5 -98.5; SEA 47.4 -122.3; SFO 37.6 -122.4;
SJC 37.4 -121.9; SLC 40.8 -112.0; SMF 38.7 -121.6; STL 38.7 -90.4; TPA 28.0 -82.5; ABQ 35.0 -106.6; ANC 61.2 -150.0; YYZ 43.7 -79.6;
YUL 45.5 -73.7; YVR 49.2 -123.2; YYC 51.1 -114.0; YOW 45.3 -75.7; YWG 49.9 -97.2; YXE 52.2 -106.7; YHZ 44.9 -63.5; MEX 19.4 -99.1;
GDL 20.5 -103.3; QRO 20.6 -100.2; MTY 25.8 -100.1; GUA 14.6 -90.5; SAL 13.4 -89.1; TGU 14.1 -87.2; MGA 12.1 -86.2; SJO 10.0 -84.2;
PTY 9.1 -79.4; BZE 17.5 -88.3; BOG 4.7 -74.1; MDE 6.2 -75.4; CLO 3.5 -76.4; UIO -0.1 -78.4; GYE -2.2 -79.9; LIM -12.0 -77.1;
LPB -16.5 -68.2; VVI -17.6 -63.1; ASU -25.2 -57.5; SCL -33.4 -70.8; EZE -34.8 -58.5; COR -31.3 -64.2; MVD -34.8 -56.0; GRU -23.4 -46.5;
GIG -22.8 -43.2; BSB -15.9 -47.9; CNF -19.6 -44.0; CWB -25.5 -49.2; POA -30.0 -51.2; FOR -3.8 -38.5; REC -8.1 -34.9; SSA -12.9 -38.3;
BEL -1.4 -48.5; MAO -3.0 -60.0; GYN -16.6 -49.2; FLN -27.7 -48.5; VCP -23.0 -47.1; CGB -15.7 -56.1; ARU -21.1 -50.4; CCS 10.6 -67.0;
CUR 12.2 -69.0; POS 10.6 -61.3; BGI 13.1 -59.5; GND 12.0 -61.8; SDQ 18.4 -69.7; SJU 18.4 -66.0; KIN 17.9 -76.8; PAP 18.6 -72.3;
GEO 6.5 -58.3; PBM 5.5 -55.2; CAY 4.8 -52.4; NAS 25.0 -77.5; HAV 23.0 -82.4; FDF 14.6 -61.0; PTP 16.3 -61.5; HKG 22.3 113.9;
MFM 22.1 113.6; TPE 25.1 121.2; KHH 22.6 120.3; NRT 35.8 140.4; KIX 34.4 135.2; FUK 33.6 130.5; OKA 26.2 127.6; ICN 37.5 126.4;
ULN 47.8 106.8; SIN 1.4 104.0; KUL 2.7 101.7; JHB 1.6 103.7; BWN 4.9 114.9; CGK -6.1 106.7; DPS -8.7 115.2; JOG -7.8 110.4;
BKK 13.7 100.7; CNX 18.8 99.0; URT 9.1 99.1; SGN 10.8 106.7; HAN 21.2 105.8; DAD 16.0 108.2; PNH 11.5 104.8; VTE 18.0 102.6;
RGN 16.9 96.1; MDL 21.7 96.0; MNL 14.5 121.0; CEB 10.3 124.0; CRK 15.2 120.6; CGY 8.6 124.5; DEL 28.6 77.1; BOM 19.1 72.9;
MAA 13.0 80.2; BLR 13.2 77.7; HYD 17.2 78.4; CCU 22.7 88.4; AMD 23.1 72.6; COK 10.2 76.4; NAG 21.1 79.0; PAT 25.6 85.1;
IXC 30.7 76.8; KNU 26.4 80.4; CNN 11.9 75.5; CMB 7.2 79.9; MLE 4.2 73.5; DAC 23.8 90.4; CGP 22.2 91.8; JSR 23.2 89.2;
KTM 27.7 85.4; PBH 27.4 89.4; ISB 33.5 72.8; LHE 31.5 74.4; KHI 24.9 67.2; KBL 34.6 69.2; TAS 41.3 69.3; ALA 43.4 77.0;
NQZ 51.0 71.5; AKX 50.2 57.2; FRU 43.1 74.5; DYU 38.5 68.8; SYD -33.9 151.2; MEL -37.7 144.8; BNE -27.4 153.1; PER -31.9 116.0;
ADL -34.9 138.5; CBR -35.3 149.2; HBA -42.8 147.5; AKL -37.0 174.8; CHC -43.5 172.5; WLG -41.3 174.8; NOU -22.0 166.2; SUV -18.0 178.6;
PPT -17.6 -149.6; APW -13.8 -172.0; POM -9.4 147.2; HIR -9.4 160.1
`;

export const cities: readonly City[] = table
  .split(";")
  .map((entry) => entry.trim().split(" "))
  .map(([code, latitude, longitude]) => ({ code: code!, latitude: Number(latitude), longitude: Number(longitude) }));

const earthRadiusKm = 6371;
/** Light in glass, and cables that don't follow the great circle. */
const kmPerMs = 200;
const detour = 1.5;
/** Machines and queues at both ends. */
const endsMs = 2;

/** Kilometres on the great circle (haversine). */
export function distanceKm(a: City, b: City): number {
  const radians = Math.PI / 180;
  const dLatitude = (b.latitude - a.latitude) * radians;
  const dLongitude = (b.longitude - a.longitude) * radians;
  const chord =
    Math.sin(dLatitude / 2) ** 2 +
    Math.cos(a.latitude * radians) * Math.cos(b.latitude * radians) * Math.sin(dLongitude / 2) ** 2;
  return 2 * earthRadiusKm * Math.asin(Math.min(1, Math.sqrt(chord)));
}

/** Milliseconds there and back. */
export function roundTripMs(a: City, b: City): number {
  return endsMs + (2 * detour * distanceKm(a, b)) / kmPerMs;
}
