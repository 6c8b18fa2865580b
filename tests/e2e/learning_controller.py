# SPDX-License-Identifier: Apache-2.0
"""An OpenFlow 1.3 controller for os-ken that makes a bridge a learning switch: what os-ken's own simple_switch_13 does, an example
that Debian's package leaves out. Every flow is of its making; frames of no flow come to it."""
from os_ken.base import app_manager
from os_ken.controller import ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.lib.packet import ethernet, packet
from os_ken.ofproto import ofproto_v1_3


class LearningSwitch(app_manager.OSKenApp):
    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.port_of = {}  # by datapath and address

    @staticmethod
    def add_flow(datapath, priority, match, actions):
        parser, protocol = datapath.ofproto_parser, datapath.ofproto
        instructions = [parser.OFPInstructionActions(protocol.OFPIT_APPLY_ACTIONS, actions)]
        datapath.send_msg(parser.OFPFlowMod(datapath=datapath, priority=priority, match=match, instructions=instructions))

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def connected(self, event):
        datapath = event.msg.datapath
        parser, protocol = datapath.ofproto_parser, datapath.ofproto
        self.add_flow(datapath, 0, parser.OFPMatch(),
                      [parser.OFPActionOutput(protocol.OFPP_CONTROLLER, protocol.OFPCML_NO_BUFFER)])

    @set_ev_cls(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def packet_in(self, event):
        message, datapath = event.msg, event.msg.datapath
        parser, protocol = datapath.ofproto_parser, datapath.ofproto
        in_port = message.match["in_port"]
        header = packet.Packet(message.data).get_protocol(ethernet.ethernet)
        self.port_of[datapath.id, header.src] = in_port
        out_port = self.port_of.get((datapath.id, header.dst), protocol.OFPP_FLOOD)
        actions = [parser.OFPActionOutput(out_port)]
        if out_port != protocol.OFPP_FLOOD:
            self.add_flow(datapath, 1, parser.OFPMatch(in_port=in_port, eth_dst=header.dst, eth_src=header.src), actions)
        datapath.send_msg(parser.OFPPacketOut(datapath=datapath, buffer_id=protocol.OFP_NO_BUFFER, in_port=in_port,
                                              actions=actions, data=message.data))
